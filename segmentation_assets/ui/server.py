"""Dagster's web server with the guard in front: `python -m segmentation_assets.ui.server`, same options.

The one seam into dagster-webserver 1.13 that is not public: its command hands the workspace to a function of its module
that makes the application (this is public) and serves it; here that function is ours. tests/system/test_ui_guard.py
asks a server started this way.
"""

import logging
from typing import Any

import dagster_webserver.cli
import uvicorn
from dagster_webserver.app import create_app_from_workspace_process_context

from segmentation_assets.private import keep_to_owner
from segmentation_assets.ui.guard import NAMES, Guard


def serve(
    workspace: Any,
    host: str | None,
    port: int | None,
    path_prefix: str,
    log_level: str,
    live_data_poll_rate: int | None = None,
) -> None:
    """In place of dagster_webserver's own: guarded, on loopback, and telling nobody that it was started."""
    if host not in (None, *NAMES):
        raise SystemExit(f"error: --host is {host!r}; this server has no login, and listens to 127.0.0.1 alone.")
    if path_prefix:
        raise SystemExit(f"error: --path-prefix is {path_prefix!r}; the guard knows the server's own paths alone.")
    port = port or dagster_webserver.cli.DEFAULT_WEBSERVER_PORT
    app = create_app_from_workspace_process_context(
        workspace, path_prefix, live_data_poll_rate, lifespan=dagster_webserver.cli._lifespan
    )
    logging.getLogger("dagster-webserver").info("Serving http://127.0.0.1:%s%s", port, path_prefix)
    uvicorn.run(Guard(app, port), host="127.0.0.1", port=port, log_level=log_level)


def main() -> None:
    keep_to_owner()
    dagster_webserver.cli.host_dagster_ui_with_workspace_process_context = serve
    dagster_webserver.cli.cli(auto_envvar_prefix="DAGSTER_WEBSERVER")


if __name__ == "__main__":
    main()
