"""`dagster dev` with the guarded web server: `python -m segmentation_assets.ui.development`, same options.

`dagster dev` starts code server, daemon and web server, restarts and ends them. It has no option for another web
server, so the one command line that it would start is replaced on the way. tests/system/test_ui_guard.py asks what it
starts.
"""

import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import click
import dagster._cli.dev as dagster_dev

from segmentation_assets.private import keep_to_owner

STOCK, GUARDED = "dagster_webserver", "segmentation_assets.ui.server"


def guarded(start: Callable[..., Any]) -> Callable[..., Any]:
    """`start`, and the guarded web server wherever it was asked for the stock one."""

    def started(parts: Sequence[str], **options: Any) -> Any:
        return start([GUARDED if part == STOCK else part for part in parts], **options)

    return started


def main() -> None:
    keep_to_owner()
    stock: Any = dagster_dev  # what is replaced there is not exported
    stock.open_ipc_subprocess = guarded(stock.open_ipc_subprocess)
    ended_by: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        ended_by.append(number)
        raise KeyboardInterrupt

    # Dagster hands SIGTERM to whoever has Ctrl-C, and ends what it started.
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    try:
        dagster_dev.dev_command(standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        pass
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    if ended_by:
        sys.exit(128 + ended_by[0])


if __name__ == "__main__":
    main()
