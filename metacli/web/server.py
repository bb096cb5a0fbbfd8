"""Serves the page to this machine only, at an address with a secret token."""

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

BACKLOG = 32  # connections that wait; asyncio reports each of them when no file descriptor is free


def serve(checkpoint: str | None, port: int, open_page: bool, threads: str) -> None:
    """Loads a model and serves the page until interrupted. Prints the address on stdout.

    Args:
        checkpoint: name of a bundled model, or a path; None for the default.
        port: 0 for a free port.
        open_page: whether to open the page in the browser.
        threads: a number, or `auto`.

    Raises:
        MetacliError: the extra is not installed, or the port is in use.
    """
    try:
        import uvicorn

        from metacli.web.app import build_app
        from metacli.web.log import print_server_messages
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("uvicorn", "starlette"):
            raise
        raise MetacliError(
            f"metacli draw needs {missing}, which is not installed", "pip install 'metacli[web]'"
        ) from error
    from metacli.compute.threads import choose_threads, parse_thread_count
    from metacli.web.drawings import render_drawing

    requested_threads = parse_thread_count(threads)
    with open_listener(port) as listener:
        learner = metacli.load(checkpoint)

        horizontal, vertical = render_drawing((((300, 500), (700, 500)),)), render_drawing((((500, 300), (500, 700)),))

        def warm_up() -> None:
            learner.fit([horizontal, vertical], ["a", "b"])
            learner.answer([horizontal])
            learner.most_attended([horizontal])

        with warnings.catch_warnings(action="ignore"):  # two support examples are fewer than in training
            warm_up()  # loads and compiles what the first answer needs
            terminal.print_to_stderr(f"model   {learner.name}", f"threads {choose_threads(requested_threads, warm_up)}")
        token, bound_port = secrets.token_urlsafe(16), listener.getsockname()[1]
        address = f"http://127.0.0.1:{bound_port}/{token}/"
        settings = uvicorn.Config(
            build_app(learner, token, bound_port),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=1,  # seconds; a client that sends nothing must not delay Ctrl-C
        )
        terminal.print_to_stdout(address)
        terminal.print_to_stderr("Press Ctrl-C to stop.")
        if open_page:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt), print_server_messages():
            uvicorn.Server(settings).run(sockets=[listener])


def open_listener(port: int) -> socket.socket:
    """Opens a listening socket that only this machine can reach; port 0 for a free port.

    Raises:
        MetacliError: the port is in use.
    """
    # With an explicit IPPROTO_TCP, asyncio turns Nagle's algorithm off, which would delay every answer by 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        operating_system.claim_port(listener)
        listener.bind(("127.0.0.1", port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise MetacliError(f"port {port}: {error.strerror}", "leave out --port to use a free port") from error
    return listener
