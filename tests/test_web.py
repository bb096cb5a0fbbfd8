"""The server of the page: what it answers, and whom and what it refuses."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import logging
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="the extra `web` is not installed")
pytest.importorskip("uvicorn", reason="the extra `web` is not installed")

from web_stub import TOKEN, Stub, served

from metacli.tasks.images.folder import Folder
from metacli.web import drawings
from metacli.web.app import STATIC_FILES, AnswerService
from metacli.web.drawings import IMAGE_SIDE, DrawnSupport, render_drawing
from metacli.web.log import print_server_messages

ROOT = Path(__file__).parent.parent
LINE, BAR, DOT = [[[100, 500], [900, 500]]], [[[500, 100], [500, 900]]], [[[300, 300]]]
QUESTION = {
    "classes": [{"name": "zeta", "drawings": [LINE, [[[120, 480], [880, 510]]]]}, {"name": "alpha", "drawings": [BAR]}],
    "queries": [[[[480, 130], [510, 880]]]],
}


@pytest.fixture(scope="module")
def learner():
    return Stub()


@pytest.fixture(scope="module")
def port(learner):
    with served(learner) as number:
        yield number


@pytest.fixture
def ask(port):
    """Send a request as the page would, but for what is given: (status, headers, body)."""

    def call(
        method="POST", path=f"/{TOKEN}/answer", body=QUESTION, origin="", host="", kind="application/json", **more
    ):
        headers = {"Host": host or f"127.0.0.1:{port}", "Content-Type": kind, **more}
        if method == "POST" and origin is not None:
            headers["Origin"] = origin or f"http://{headers['Host']}"
        elif origin:
            headers["Origin"] = origin
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data if method == "POST" else None, headers)
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()

    return call


def changed(**parts):
    return {**QUESTION, **parts}


def test_the_answer_is_in_the_order_of_the_question_and_says_where_it_looked(ask):
    status, _, body = ask()
    told = json.loads(body)
    assert status == 200
    (odds,) = told["probabilities"]
    assert sum(odds) == pytest.approx(1, abs=1e-3)
    assert odds[1] > 0.9, "a vertical line is an alpha, which the learner sorts first"
    assert told["unsure"] == [False]
    one_each = [{"name": "a", "drawings": [LINE]}, {"name": "b", "drawings": [BAR]}]
    assert json.loads(ask(body=changed(classes=one_each, queries=[[*LINE, *BAR]]))[2])["unsure"] == [True]
    (looked,) = json.loads(ask(path=f"/{TOKEN}/attended")[2])["most_attended"]
    assert [len(shares) for shares in looked] == [2, 1]
    assert sum(map(sum, looked)) == pytest.approx(1, abs=1e-3)
    assert (told["model"], told["warnings"]) == ("stub", "two classes are few")
    assert looked[1][0] == pytest.approx(odds[1], abs=1e-3)


def test_drawings_that_stay_the_same_are_read_once(ask, learner):
    ask()
    before = learner.fits
    assert ask(body=changed(queries=[LINE, DOT]))[0] == 200
    assert learner.fits == before
    ask(body=changed(classes=[*QUESTION["classes"], {"name": "third", "drawings": [DOT]}]))
    assert learner.fits == before + 1


def test_answers_do_not_wait_in_the_network(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
    seconds = []
    for _ in range(15):
        began = time.perf_counter()
        connection.request("POST", f"/{TOKEN}/answer", json.dumps(QUESTION), headers)
        assert json.loads(connection.getresponse().read())["probabilities"]
        seconds.append(time.perf_counter() - began)
    assert np.median(seconds) < 0.035, "on one connection, as a browser asks"


def test_a_model_that_cannot_tell_where_it_looked():
    question = drawings.DrawnTask.model_validate_json(json.dumps(QUESTION))
    assert AnswerService(Stub(looks=False)).find_attended(question) == {"most_attended": None}


@pytest.mark.parametrize("name", ["", *STATIC_FILES])
def test_the_page_and_its_files_name_no_other_place_and_carry_the_policy(ask, name):
    status, headers, body = ask("GET", f"/{TOKEN}/{name}")
    assert status == 200
    text = body.decode().replace("http://www.w3.org/2000/svg", "")  # the name of a language, nothing that is fetched
    assert not re.search(r"https?:|wss?://|[\"'(=]//", text)
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "*" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("GET", {"path": "/"}),
        ("GET", {"path": "/draw.js"}),
        ("GET", {"path": f"/{TOKEN}x/"}),
        ("GET", {"path": f"/{TOKEN[:-1]}/"}),
        ("GET", {"path": "/%ff%00/"}),
        ("POST", {"path": "/answer"}),
        ("GET", {"host": "evil.example"}),
        ("GET", {"host": "127.0.0.1"}),
        ("GET", {"host": "127.0.0.1:1"}),
        ("GET", {"host": "localhost.evil.example"}),
        ("GET", {"origin": "http://evil.example"}),
        ("POST", {"origin": None}),
        ("POST", {"origin": "null"}),
        ("POST", {"origin": "http://evil.example"}),
        ("POST", {"origin": "https://127.0.0.1"}),
        ("POST", {"origin": "http://127.0.0.1:1"}),
        ("POST", {"host": "evil.example"}),
    ],
)
def test_strangers_are_refused(ask, method, change):
    path = f"/{TOKEN}/answer" if method == "POST" else f"/{TOKEN}/"
    status, headers, body = ask(method, **{"path": path, **change})
    assert status == 403
    assert json.loads(body)["error"]
    assert TOKEN.encode() not in body
    assert "Content-Security-Policy" in headers


def test_localhost_is_another_name_of_this_machine_but_not_of_the_other_origin(ask, port):
    assert ask(host=f"localhost:{port}")[0] == 200
    assert ask(host=f"localhost:{port}", origin=f"http://127.0.0.1:{port}")[0] == 403


def drawing(strokes, points):
    return [[[i % 1000, 5] for i in range(points)] for _ in range(strokes)]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 422, "JSON"),
        (b"{", 422, "JSON"),
        (b"null", 422, "object"),
        (b"\xff\xfe", 422, "JSON"),
        (b"[" * 100_000, 422, "JSON"),
        (b"1" * 5000, 422, ""),
        (b'{"classes": NaN}', 422, "classes"),
        (b'{"classes": "\\ud800"}', 422, ""),
        (changed(more=1), 422, "more"),
        (changed(classes=[]), 422, "classes"),
        (changed(classes=QUESTION["classes"][:1]), 422, "two classes"),
        (changed(classes=[QUESTION["classes"][0]] * 2), 422, "same name"),
        (changed(classes=[{"name": str(i), "drawings": [LINE]} for i in range(6)]), 422, "classes"),
        (changed(classes=[{"name": "x", "drawings": [LINE] * 6}, QUESTION["classes"][1]]), 422, "drawings"),
        (changed(classes=[{"name": "x", "drawings": []}, QUESTION["classes"][1]]), 422, "drawings"),
        (changed(classes=[{"name": " ", "drawings": [LINE]}, QUESTION["classes"][1]]), 422, "name"),
        (changed(classes=[{"name": "a\x00b", "drawings": [LINE]}, QUESTION["classes"][1]]), 422, "name"),
        (changed(classes=[{"name": "x" * 33, "drawings": [LINE]}, QUESTION["classes"][1]]), 422, "name"),
        (changed(classes=[{"name": "refuse me", "drawings": [LINE]}, QUESTION["classes"][1]]), 422, "refused"),
        (changed(queries=[]), 422, "queries"),
        (changed(queries=[[]]), 422, "queries"),
        (changed(queries=[[[]]]), 422, "queries"),
        (changed(queries=[[[[1]]]]), 422, "queries"),
        (changed(queries=[[[[1, 2, 3]]]]), 422, "queries"),
        (changed(queries=[[[[-1, 2]]]]), 422, "queries"),
        (changed(queries=[[[[1, 1001]]]]), 422, "queries"),
        (changed(queries=[[[[1, 2.5]]]]), 422, "queries"),
        (changed(queries=[[[[1, "2"]]]]), 422, "queries"),
        (changed(queries=[[[[1, 10**400]]]]), 422, "queries"),
        (changed(queries=[LINE] * 9), 422, "queries"),
        (changed(queries=[drawing(81, 1)]), 422, "queries"),
        (changed(queries=[drawing(1, 1501)]), 422, "queries"),
        (changed(queries=[drawing(3, 1001)]), 422, "3000 points"),
        (b" " * 1_000_001, 413, "bytes"),
    ],
)
def test_what_is_malformed_or_too_much_is_refused_in_words(ask, body, status, word):
    got, headers, text = ask(body=body)
    assert got == status
    assert headers["Content-Type"] == "application/json"
    assert word in json.loads(text)["error"]
    assert b"Traceback" not in text
    assert b"pydantic" not in text


def test_other_methods_paths_and_types_are_refused_in_words(ask):
    for wanted, call in [
        (404, ask("GET", f"/{TOKEN}/app.py")),
        (404, ask("GET", f"/{TOKEN}/../app.py")),
        (404, ask("GET", f"/{TOKEN}/a/b")),
        (404, ask("GET", f"/{TOKEN}/answer")),
        (405, ask(path=f"/{TOKEN}/")),
        (415, ask(kind="text/plain")),
    ]:
        assert call[0] == wanted
        assert json.loads(call[2])["error"]


def test_the_largest_drawings_fit_into_a_request(ask):
    full = [[[999, 999 - i % 7] for i in range(1500)] for _ in range(2)]
    body = changed(classes=[{"name": f"class {i}", "drawings": [full] * 5} for i in range(5)], queries=[full])
    assert ask(body=body)[0] == 200


def test_a_picture_has_dark_ink_where_the_pen_went_and_ends_round():
    page = np.asarray(render_drawing((((250, 500), (750, 500)), ((100, 100),))))
    assert page.shape == (IMAGE_SIDE, IMAGE_SIDE)
    assert page[128, 64:192].max() == 0
    assert page[26, 26] == 0
    ys, xs = np.mgrid[:IMAGE_SIDE, :IMAGE_SIDE] + 0.5
    along = np.clip(xs, 64, 192)
    far = np.minimum(np.hypot(xs - along, ys - 128), np.hypot(xs - 25.6, ys - 25.6))
    assert (page[far < drawings.PEN_WIDTH / 2 - 1] == 0).all()
    assert (page[far > drawings.PEN_WIDTH / 2 + 1] == 255).all()


def test_the_zip_is_a_folder_that_the_task_folder_reads(ask, tmp_path):
    classes = [
        *QUESTION["classes"],
        {"name": "../Alpha é/", "drawings": [DOT, LINE]},
        {"name": "ALPHA", "drawings": [BAR]},
        {"name": "__MACOSX", "drawings": [BAR]},
    ]
    status, headers, body = ask(path=f"/{TOKEN}/folder.zip", body={"classes": classes})
    assert status == 200
    assert headers["Content-Type"] == "application/zip"
    assert ask(path=f"/{TOKEN}/folder.zip", body={"classes": classes})[2] == body
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        archive.extractall(tmp_path)
        names = archive.namelist()
    assert sorted(names) == [
        "metacli-drawings/README.txt",
        "metacli-drawings/test/ALPHA_2/01.png",
        "metacli-drawings/test/__MACOSX_/01.png",
        "metacli-drawings/test/___Alpha é_/01.png",
        "metacli-drawings/test/___Alpha é_/02.png",
        "metacli-drawings/test/alpha/01.png",
        "metacli-drawings/test/zeta/01.png",
        "metacli-drawings/test/zeta/02.png",
    ]
    lesson = DrawnSupport.model_validate_json(json.dumps({"classes": classes}))
    image = np.asarray(Image.open(tmp_path / "metacli-drawings/test/zeta/02.png"))
    assert (image == np.asarray(render_drawing(lesson.classes[0].drawings[1]))).all()
    for single in ("alpha", "ALPHA_2", "__MACOSX_"):
        (tmp_path / "metacli-drawings/test" / single / "01.png").unlink()
    tasks = Folder(
        Folder.Config(root=str(tmp_path / "metacli-drawings"), invert=True, ways=2, shots=1, queries=1, size=20), 0
    )
    batch = tasks.batch("test", 0, 3)
    assert batch.x_train.shape == (3, 2, 1, 20, 20)
    assert batch.x_train.mean() < 0.5, "light ink on dark, as models read it"


RUN = """
import sys; sys.path.insert(0, {tests!r})
import metacli, web_stub
metacli.load = lambda name: web_stub.Stub()
from metacli.cli.main import main
main()
"""


def test_the_verb_prints_the_address_serves_it_and_ends_quietly_when_interrupted(tmp_path):
    command = [sys.executable, "-c", RUN.format(tests=str(ROOT / "tests")), "draw", "--no-open", "--threads", "1"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=-1, stderr=-1, text=True)
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:")
    assert address.endswith("/")
    place, token = address.removeprefix("http://").rstrip("/").split("/")
    assert len(token) >= 20
    connection = http.client.HTTPConnection(place, timeout=20)
    connection.request("GET", f"/{token}/")
    assert connection.getresponse().status == 200
    connection.close()
    taken = [*command[:4], "--no-open", "--port", place.rpartition(":")[2]]
    second = subprocess.run(taken, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert second.stderr.startswith("error: port ")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == ""
    assert "stub" in err
    assert "Traceback" not in err


def test_hostile_clients_cause_a_line_at_most_and_the_page_goes_on(tmp_path):
    few = "import resource, metacli.cli.main\nresource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\nmain()"
    code = RUN.format(tests=str(ROOT / "tests")).replace("main()", few)
    command = [sys.executable, "-c", code, "draw", "--no-open", "--threads", "1"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=-1, stderr=-1, text=True)
    place, token = process.stdout.readline().strip().removeprefix("http://").rstrip("/").split("/")
    address = ("127.0.0.1", int(place.rpartition(":")[2]))
    start = f"POST /{token}/answer HTTP/1.1\r\nHost: {place}\r\nOrigin: http://{place}\r\n"
    half = f"{start}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode()
    chunks = f"{start}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".encode()
    for request in [half, b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 300_000, chunks] * 3:
        with socket.create_connection(address, timeout=20) as client, contextlib.suppress(ConnectionError):
            client.sendall(request)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leave with a reset
    idle = [socket.socket() for _ in range(60)]  # more than there are descriptors
    for client in idle:
        client.setblocking(False)
        client.connect_ex(address)
    time.sleep(0.5)
    for client in idle:
        client.close()
    connection = http.client.HTTPConnection(place, timeout=20)
    connection.request("GET", f"/{token}/")
    assert connection.getresponse().status == 200
    slow = socket.create_connection(address, timeout=20)
    slow.sendall(half)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    slow.close()
    assert process.returncode == 0
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("server  ")]
    assert len(lines) == len(err.splitlines()) - 3, err
    assert sum("Too many open files" in line for line in lines) == 1
    assert len(lines) <= 4, err


def test_an_error_of_the_server_is_one_line_and_repetitions_are_counted(capsys, monkeypatch):
    logger, clock = logging.getLogger("uvicorn.error"), iter([0, 1, 2, 3, 10.5])
    monkeypatch.setattr("metacli.web.log.time", SimpleNamespace(monotonic=lambda: next(clock)))
    logger.setLevel(logging.NOTSET)  # a server in an earlier test of this process may have raised it
    with print_server_messages():
        for _ in range(4):
            try:
                render_drawing(7)
            except TypeError as error:
                logger.error("Exception in ASGI application\n", exc_info=error)
        logger.error("Exception in ASGI application\n", exc_info=TypeError("a\nb"))
        logger.warning("Invalid HTTP request received.")
    first, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"server  Exception in ASGI application: TypeError: .* \(drawings.py:\d+\)", first)
    assert last == r"server  Exception in ASGI application: TypeError: a\nb (3 more like it)"


@pytest.mark.parametrize("missing", ["uvicorn", "starlette"])
def test_without_the_extra_the_error_names_it(tmp_path, missing):
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom metacli.cli.main import main\nmain()"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, "draw"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error == f"error: metacli draw needs {missing}, which is not installed"
    assert hint == "hint: pip install 'metacli[web]'"


def test_directories_of_classes_can_be_made_on_every_system():
    from metacli.system import operating_system
    from metacli.web.drawings import _unique_directory

    taken: set[str] = set()
    names = [_unique_directory(name, taken) for name in ("con", "CON", "con_", "a", "A", "\u00e9.", "nul")]
    assert all(map(operating_system.is_portable_folder_name, names))
    assert len({name.casefold() for name in names}) == len(names)
    assert names[:2] == ["con_", "CON__2"]
