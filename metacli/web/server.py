"""Serves the page on this machine alone, under an address that nobody can guess."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import warnings
import webbrowser

import metacli
from metacli.errors import MetacliError
from metacli.system import operating_system, terminal


def serve(checkpoint: str | None, port: int, open_page: bool, threads: str) -> None:
    """Load a model and serve the page until it is interrupted; the address goes to stdout.

    Args:
        checkpoint: a name or a path; None for the default.
        port: 0 for any that is free.
        open_page: whether to open it in the browser.
        threads: a number, or auto.

    Raises:
        MetacliError: the extra is not installed, or the port is taken.
    """
    try:
        import uvicorn

        from metacli.web.app import build
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("uvicorn", "starlette"):
            raise
        raise MetacliError(f"draw needs {missing}, which is not installed", "pip install 'metacli[web]'") from error
    from metacli.compute.threads import choose_threads, parse_thread_count
    from metacli.web.drawings import picture

    wanted = parse_thread_count(threads)
    with listening(port) as listener:
        learner = metacli.load(checkpoint)

        first, second = picture((((300, 500), (700, 500)),)), picture((((500, 300), (500, 700)),))

        def trial() -> None:
            learner.fit([first, second], ["a", "b"])
            learner.predict_proba([first])
            learner.looked_at([first])

        with warnings.catch_warnings(action="ignore"):  # that two examples are few
            trial()  # loads and compiles what the first answer would wait for
            terminal.say(f"model   {learner.name}", f"threads {choose_threads(wanted, trial)}")
        token, taken = secrets.token_urlsafe(16), listener.getsockname()[1]
        address = f"http://127.0.0.1:{taken}/{token}/"
        settings = uvicorn.Config(
            build(learner, token, taken),
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
        )
        terminal.tell(address)
        terminal.say("Ctrl-C ends it")
        if open_page:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(settings).run(sockets=[listener])


def listening(port: int) -> socket.socket:
    """A socket of this machine alone at which requests may wait; port 0 for any that is free.

    Raises:
        MetacliError: the port is taken.
    """
    # named as TCP, or asyncio leaves Nagle's algorithm on, which keeps every answer back for 40 ms
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        operating_system.claim_port(listener)
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise MetacliError(f"port {port}: {error.strerror}", "leave out --port to take one that is free") from error
    return listener
