"""Download a small file over http or https, complete and with the expected checksum. The only network client code."""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from typing import Any

from tqdm import tqdm

from metacli.errors import MetacliError
from metacli.system import terminal
from metacli.version import __version__

TIMEOUT = 30.0  # seconds without a reply, or without a byte of it
WINDOW, MIN_BYTES = 60.0, 60_000  # at least MIN_BYTES must arrive in every WINDOW seconds
CHUNK = 1 << 16  # bytes


def fetch(url: str, md5: str, max_bytes: int, hint: str) -> bytes:
    """Returns the file at `url`.

    Args:
        url: http or https. Redirects are followed, never from https to http.
        md5: the file's MD5, hexadecimal.
        max_bytes: its largest size.
        hint: what to do if the download fails.

    Raises:
        MetacliError: there is no network or no such file, the connection is interrupted or too slow, the file is too
            large, or its MD5 differs.
    """
    try:
        data = _read(url, max_bytes)
    except urllib.error.HTTPError as error:
        raise MetacliError(f"cannot download {url}: HTTP {error.code} {error.reason}", hint) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        text = f"no reply for {TIMEOUT:g} s" if isinstance(reason, TimeoutError) else str(reason) or repr(reason)
        raise MetacliError(f"cannot download {url}: {text}", f"try again; else {hint}") from None
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if digest != md5:
        page = ", a web page, perhaps of a proxy or a login" if re.match(rb"\s*<(!doctype|html)", data, re.I) else ""
        message = f"{url} returned {len(data):,} bytes with MD5 {digest}{page}, not {md5}"
        raise MetacliError(message, f"try again; else {hint}")
    return data


def _read(url: str, max_bytes: int) -> bytes:
    request = urllib.request.Request(url, headers={"User-Agent": f"metacli/{__version__}"})
    if request.type not in ("http", "https"):
        raise ValueError("only http and https are supported")
    data, window_start, window_bytes = bytearray(), time.monotonic(), 0
    with open_url(request, timeout=TIMEOUT) as answer:
        length = answer.headers.get("Content-Length") or ""
        total = int(length) if length.isdecimal() else None
        if (total or 0) > max_bytes:
            raise ValueError(f"the file has {total:,} bytes, more than {max_bytes:,}")
        name = url.rpartition("/")[2]
        with tqdm(total=total, unit="B", unit_scale=True, desc=name, file=terminal.stderr(), disable=None) as bar:
            while chunk := answer.read1(CHUNK):
                data += chunk
                bar.update(len(chunk))
                if len(data) > max_bytes:
                    raise ValueError(f"the file has more than {max_bytes:,} bytes")
                if time.monotonic() - window_start > WINDOW:
                    if len(data) - window_bytes < MIN_BYTES:
                        raise ValueError(f"slower than {MIN_BYTES:,} bytes in {WINDOW:g} s, after {len(data):,} bytes")
                    window_start, window_bytes = time.monotonic(), len(data)
    if total is not None and len(data) < total:
        raise ValueError(f"the connection was interrupted after {len(data):,} of {total:,} bytes")
    return bytes(data)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        scheme = newurl.partition(":")[0].lower()
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise ValueError(f"the redirect to {newurl[:200]} is not allowed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def open_url(request: urllib.request.Request, timeout: float) -> Any:
    """Opens a URL as `urllib.request.urlopen` does, and follows only safe redirects."""
    return urllib.request.build_opener(_SafeRedirects).open(request, timeout=timeout)
