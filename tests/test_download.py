"""The download from a server that breaks off, stalls, redirects and lies; see `tests.trust.downloads`."""

from __future__ import annotations

import urllib.request

import pytest

from metacli.errors import MetacliError
from metacli.system import download
from tests.trust import downloads
from tests.trust.downloads import BAD, GOOD, attempt
from tests.trust.server import Place, serving

SAYS = {
    ("cut",): "the connection was interrupted",
    ("stall",): "no reply for",
    ("trickle",): "slower than",
    ("page",): "a web page",
    ("status 404",): "HTTP 404",
    ("status 500",): "HTTP 500",
    ("long",): "the connection was interrupted",
    ("short",): "with MD5",
    ("endless",): "more than 1,000,000 bytes",
    ("to SELF",): "redirect",
    ("to file:///etc/passwd",): "file:///etc/passwd",
    ("to ftp://127.0.0.1/x",): "is not allowed",
    ("to http://127.0.0.1:1/x",): "cannot download",
    ("wrong",): "with MD5",
}


@pytest.mark.parametrize("how", sorted(GOOD), ids=" then ".join)
def test_a_file_arrives_also_by_a_redirect(how):
    assert attempt(how) == ""


@pytest.mark.parametrize("how", sorted(BAD), ids=" ".join)
def test_what_is_not_the_file_is_refused_and_the_next_try_works(how):
    assert SAYS.get(how, "cannot download") in attempt(how)


def test_no_redirect_from_https_to_http():
    request = urllib.request.Request("https://127.0.0.1/x")
    with pytest.raises(ValueError, match="is not allowed"):
        download._SafeRedirects().redirect_request(request, None, 302, "Found", {}, "http://127.0.0.1/x")


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "nonsense", "http://", "http://[", ""])
def test_what_is_no_address_of_the_web_is_refused(address):
    with pytest.raises(MetacliError, match="cannot download") as caught:
        download.fetch(address, "", 10**6, "what to do")
    assert "what to do" in caught.value.hint


def test_the_longer_form_reports_a_line():
    assert downloads.main(2, 0).startswith("downloads: 2 of ")


def test_the_command_line_downloads_from_a_mirror_and_says_what_failed(cli, monkeypatch):
    with serving(Place({})) as place:
        settings = {"METACLI_MIRROR": place.url, "METACLI_DATA": "", "METACLI_CACHE": "cache", "no_proxy": "*"}
        done = cli("sample-tasks", "omniglot_lstm", **settings)
    assert done.returncode == 1
    assert f"error: cannot download {place.url}/images_background.zip: HTTP 404" in done.stderr
    assert "METACLI_MIRROR" in done.stderr
    assert "Traceback" not in done.stderr
