"""The place that exports are written to, as errors show it: address without credentials, what failed, what to do."""

import re

from segmentation_assets.errors import UserError

# The package that writes to an address, and the extra of pyproject.toml that brings it.
EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), ("s3fs", "s3")),
    **dict.fromkeys(("gs", "gcs"), ("gcsfs", "gcs")),
    **dict.fromkeys(("abfs", "abfss", "az"), ("adlfs", "azure")),
    **dict.fromkeys(("sftp", "ssh"), ("paramiko", "sftp")),
}
# Two characters at least: C: is a drive.
_HEAD = re.compile(r"(?:[A-Za-z0-9+.-]{2,}::)*[A-Za-z][A-Za-z0-9+.-]+:/*")
_LONGEST_CAUSE = 400


class ExportError(UserError):
    """An export that cannot be written or read; one line with the fix, and never an e-mail address."""


def without_credentials(uri: str) -> str:
    """The address as it may be shown: no user:password before the host, no signature behind the path."""
    head = _HEAD.match(uri)
    if head is None:
        return uri
    rest = uri[head.end() :].partition("?")[0]
    user, at, host = rest.rpartition("@")
    # abfs://container@account has none; a password may hold any sign.
    return head[0] + (host if at and ":" in user else rest)


def unusable(uri: str, failed: str, error: Exception) -> ExportError:
    """The address, what happened, and the way out."""
    shown = without_credentials(uri)
    scheme = shown.rpartition("::")[2].partition("://")[0]
    # fsspec knows abfss:// by adlfs alone, and calls it unknown where that is not installed.
    if scheme in EXTRAS and (isinstance(error, ImportError) or "Protocol not known" in str(error)):
        package, extra = EXTRAS[scheme]
        return ExportError(
            f"SEGMENTATION_EXPORT_URI is {shown!r}, and {package}, which writes there, is not installed: pip install"
            f' "customer-segmentation[{extra}]". Then export again.'
        )
    cause = _cause(uri, error)
    if isinstance(error, ImportError):
        way_out = "Install what it names, or name another place in SEGMENTATION_EXPORT_URI"
    elif isinstance(error, ValueError) and failed == "cannot be used":
        known = ", ".join(f"{scheme}://" for scheme in ("s3", "gs", "abfs", "sftp"))
        way_out = f"SEGMENTATION_EXPORT_URI is a folder or an address of fsspec, such as {known}"
    elif "://" in uri and scheme not in ("file", "local"):
        way_out = "See that it can be reached and that this job's login there may read and write"
    else:
        way_out = "Let this user write there, make space, or name another folder in SEGMENTATION_EXPORT_URI"
    return ExportError(f"The exports at {shown!r}: the place {failed} ({cause}). {way_out}; then export again.")


def _cause(uri: str, error: Exception) -> str:
    """The first line of what the backend said, without what the address kept secret."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    lines = said.strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    for secret in _secrets(uri):
        line = line.replace(secret, "...")
    line = re.sub(r"//[^/\s]*:[^/\s]*@", "//", line)
    line = re.sub(r"\?\S+", "", line)
    return line if len(line) <= _LONGEST_CAUSE else f"{line[:_LONGEST_CAUSE]}..."


def _secrets(uri: str) -> list[str]:
    head = _HEAD.match(uri)
    rest = uri[head.end() :] if head else ""
    login, at, _ = rest.partition("?")[0].rpartition("@")
    if not at or ":" not in login:
        return []
    user, _, password = login.partition(":")
    return sorted({secret for secret in (login, password, user) if secret}, key=len, reverse=True)
