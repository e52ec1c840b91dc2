"""Serves an index as a page to search with, and as a JSON API.

Only this machine reaches it. With --host others do, too; then they need a token.

examples:
  python deploy/search/serve.py pictures.db                        (for you)
  python deploy/search/serve.py pictures.db --host 0.0.0.0 --token (for others)
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

import argparse
import base64
import contextlib
import functools
import hmac
import io
import ipaddress
import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from PIL import Image, ImageOps

from deploy.search.index import add_network, open_index
from utils.config.parser import Parser
from utils.datasets.images import open_image
from utils.search.filters import parse_filter
from utils.search.index import ImageIndex, NoSuchImage
from utils.search.store import Entry
from utils.system.errors import Terminated, UserError, first_line, run_command

KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
PAGE = Path(__file__).resolve().with_name("page")
FILES = {f"/page.{end}": (PAGE.with_suffix(f".{end}").read_bytes(), KINDS[end]) for end in KINDS}
"""Address → content and kind of the page's files."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Connection": "close",
}
LIMITS = {"k": (1, 1000), "max_distance": (0, 1 << 16), "id": (0, (1 << 53) - 1)}
"""The least and the largest value of each number that is asked for."""
MAX_BODY, LARGE_BODY, LARGE_BODIES = 32 << 20, 1 << 20, 4
"""Bytes of an image at most; more than how many are a large one; large ones at a time."""
CONNECTIONS = 128
"""At a time; further ones wait for their turn."""
REQUEST_SECONDS, STOP_SECONDS = 60, 5
"""A request must have come by then; the requests at hand must be answered by then at the end."""
THUMBNAILS, THUMBNAIL_SIDE = 2000, 256
"""How many are kept in memory (some 20 MB), and pixels of the longer side."""


class Refusal(Exception):
    """What is not answered as asked: status, and why, in a line."""


@contextlib.contextmanager
def refused_with(status: int, kind: type[UserError] = UserError) -> Iterator[None]:
    """Gives what is wrong inside the block, of that kind, a status."""
    try:
        yield
    except kind as error:
        raise Refusal(status, str(error)) from error


class Server(ThreadingHTTPServer):
    """Serves an index, a thread for each connection; one thread decodes and encodes all queries.

    Args:
        address: host and port; port 0: any free one.
        index: is searched, and closed at the end.
        token: what each request must have; None: nothing.
    """

    request_queue_size = 256

    def __init__(self, address: tuple[str, int], index: ImageIndex, token: str | None = None):
        self.index, self.token = index, token
        self._encoder, self._drawing = ThreadPoolExecutor(1), threading.Lock()
        self._connections = threading.BoundedSemaphore(CONNECTIONS)
        self.large_bodies = threading.BoundedSemaphore(LARGE_BODIES)
        # What is wrong with the network shows now, and the first query is as fast as others.
        self.code_of(Image.new("RGB", (256, 256)))
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            super().__init__(address, Handler)
        except (OSError, OverflowError, TypeError, ValueError) as error:  # such as no host's name
            told = "--host {} --port {}: {}".format(*address, first_line(error))
            raise UserError(told) from error

    def code_of(self, image: bytes | Image.Image) -> np.ndarray:
        """The packed code, uint8 [bytes], of an image file's content, or of an image."""
        return self._encoder.submit(self.index.encode, [image]).result()[0]

    def entry(self, number: int) -> Entry:
        """The image of an id."""
        with refused_with(404, NoSuchImage):
            return self.index.entry(number)

    def thumbnail(self, entry: Entry) -> bytes:
        """An image of the index as a small JPEG file."""
        with self._drawing, refused_with(404):  # such as a file that is gone
            return draw_thumbnail(entry.path, entry.key)

    def process_request(self, *request: Any) -> None:
        self._connections.acquire()
        super().process_request(*request)

    def process_request_thread(self, *request: Any) -> None:
        try:
            super().process_request_thread(*request)
        finally:
            self._connections.release()

    def handle_error(self, *request: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # then the client has gone
            super().handle_error(*request)

    def stop(self) -> None:
        """Ends; requests at hand have some seconds for it."""
        self.server_close()
        deadline = time.monotonic() + STOP_SECONDS
        for _ in range(CONNECTIONS):
            self._connections.acquire(timeout=max(0, deadline - time.monotonic()))
        self._encoder.shutdown()
        self.index.__exit__()


class Handler(BaseHTTPRequestHandler):
    """One request; then its connection ends."""

    server: Server
    protocol_version = default_request_version = "HTTP/1.1"
    server_version, sys_version = "HashNet", ""

    def setup(self) -> None:
        self.timeout, self._unread = 2 * REQUEST_SECONDS, 0
        super().setup()
        self._timer = threading.Timer(REQUEST_SECONDS, self._end_reading)
        self._timer.daemon = True
        self._timer.start()

    def _end_reading(self) -> None:  # however little comes at a time
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    def finish(self) -> None:
        self._timer.cancel()
        super().finish()

    def log_message(self, format: str, *values: Any) -> None:
        """Says nothing of requests."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self._send({"error": message or self.responses[code][0]}, status=code)

    def do_GET(self) -> None:
        """Checks a request and answers it, or says what is wrong."""
        try:
            self._unread = self._body_length()
            # Letters beyond ASCII may also come as they are, in UTF-8, such as from a shell.
            address = urlsplit(self.path.encode("latin-1").decode(errors="replace"))
            self._check_sender()
            self._answer(address.path, dict(parse_qsl(address.query, max_num_fields=8)))
        except Refusal as error:
            self.send_error(*error.args)
        except ValueError as error:
            self.send_error(400, first_line(error))
        except UserError as error:  # nothing that was asked is wrong, but the index or the network
            self.send_error(503, str(error))
        # Whoever still sends would miss the answer if the connection ended now.
        while self._unread and (part := self.rfile.read1(min(self._unread, 1 << 16))):
            self._unread -= len(part)

    do_POST = do_GET

    def _check_sender(self) -> None:
        token = self.server.token
        if token is None:
            # A site that gives its name this machine's address could read all in a browser here.
            host = re.sub(r":\d*$", "", self.headers.get("Host", ""))
            if not is_loopback(host.strip("[]")):
                raise Refusal(403, "Host: expected localhost or 127.0.0.1")
            return
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":  # a browser's user and password
            given = base64.b64decode(given).decode(errors="replace").partition(":")[2]
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise Refusal(401, "needs the token: as a Bearer, or as the password of any user")

    def _answer(self, path: str, asked: dict[str, Any]) -> None:
        thumbnail = re.fullmatch("/thumbnail/([0-9]{1,16})", path)
        path = "/page.html" if path == "/" else path
        if path == "/api/search":
            self._search(**_checked(asked))
        elif self.command == "POST":
            raise Refusal(405, "nothing is taken at this address")
        elif path == "/api/info":
            limits = {"max_k": LIMITS["k"][1], "max_bytes": MAX_BODY}
            self._send({**self.server.index.info(), **limits})
        elif thumbnail:
            content = self.server.thumbnail(self.server.entry(int(thumbnail[1])))
            self._send(content, "image/jpeg", cache="private, max-age=600")
        elif path in FILES:
            self._send(*FILES[path])
        else:
            raise Refusal(404, "nothing is at this address")

    def _search(
        self, id: int | None = None, k: int = 10, max_distance: int | None = None, label: str = ""
    ) -> None:
        where = "label = '{}'".format(label.replace("'", "''")) if label else None
        if where:
            with refused_with(400):  # such as a label that is too long
                parse_filter(where)
        if self.command == "POST":
            large = self._unread > LARGE_BODY
            with self.server.large_bodies if large else contextlib.nullcontext():
                content = self._body()
                with refused_with(415):
                    query = self.server.code_of(content)
        elif id is None:
            raise Refusal(400, "id: missing; for an image, POST it")
        else:
            query = np.frombuffer(self.server.entry(id).code, np.uint8)
        hits = self.server.index.search(query, k, where, max_distance)
        self._send({"results": [{**hit._asdict(), "id": str(hit.id)} for hit in hits]})

    def _body_length(self) -> int:
        length = self.headers.get("Content-Length", "0" if self.command == "GET" else "")
        if not re.fullmatch("[0-9]{1,18}", length):
            raise Refusal(411, "Content-Length: expected the number of bytes")
        return int(length)

    def _body(self) -> bytes:
        if self._unread > MAX_BODY:
            raise Refusal(413, f"{self._unread:,} bytes; an image may have {MAX_BODY:,}")
        content = self.rfile.read(self._unread)
        self._unread -= len(content)
        if self._unread:
            raise Refusal(408, f"{self._unread:,} bytes did not come in {REQUEST_SECONDS} seconds")
        return content

    def _send(
        self,
        content: bytes | dict[str, Any],
        kind: str = "application/json",
        cache: str = "no-store",
        status: int = 200,
    ) -> None:
        if isinstance(content, dict):
            content = json.dumps(content).encode()
        self.send_response(status)
        own = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": len(content)}
        if status == 401:
            own["WWW-Authenticate"] = 'Basic realm="token"'
        for name, value in {**HEADERS, **own, "Cache-Control": cache}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)


def _checked(asked: dict[str, str]) -> dict[str, Any]:
    """What a search asks for; its numbers as such."""
    if unknown := asked.keys() - {*LIMITS, "label"}:
        raise Refusal(400, f"{min(unknown)!r}: not known; known are {', '.join(LIMITS)}, label")
    checked: dict[str, Any] = dict(asked)
    for name in asked.keys() & LIMITS.keys():
        least, most = LIMITS[name]
        checked[name] = int(asked[name]) if re.fullmatch("[0-9]{1,16}", asked[name]) else -1
        if not least <= checked[name] <= most:
            raise Refusal(400, f"{name}: expected a whole number from {least} to {most}")
    return checked


def is_loopback(host: str) -> bool:
    """Whether a host's name is of this machine for itself alone."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


@functools.lru_cache(THUMBNAILS)
def draw_thumbnail(path: str, key: str) -> bytes:
    """An image file as a small JPEG file, turned as its camera noted; `key` tells its state."""
    image = ImageOps.exif_transpose(open_image(path, least_side=THUMBNAIL_SIDE))
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def parse_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("index", metavar="INDEX", help="pictures.db, for example: what index.py has made")
    add("--host", default="127.0.0.1", help="where to listen (default: %(default)s)")
    add("--port", type=int, default=8000, help="0: any that is free (default: %(default)s)")
    token = "what requests must have, 16 or more of A-Z a-z 0-9 _ -; without a value one is made"
    add("--token", nargs="?", const=secrets.token_urlsafe(), help=token)
    add_network(parser)
    arguments = parser.parse_args(words)
    if arguments.token is None and not is_loopback(arguments.host):
        raise UserError(f"--host {arguments.host}: lets others in; --token makes a token for them")
    if arguments.token is not None and not re.fullmatch("[A-Za-z0-9_-]{16,}", arguments.token):
        raise UserError("--token: expected 16 or more of A-Z a-z 0-9 _ -, or no value")
    return arguments


def main() -> None:
    """Serves until Ctrl-C or SIGTERM."""
    arguments = parse_arguments()
    index = open_index(arguments)
    server = Server((arguments.host, arguments.port), index, arguments.token)
    print(f"{arguments.index}: {len(index):,} images, codes of {index.bit} bits")
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    print(f"http://{host}:{server.server_port}/   (Ctrl-C ends it)", flush=True)
    if arguments.token:
        print(f"token: {arguments.token}   (a browser asks for it as the password)", flush=True)
    try:
        server.serve_forever()
    except (KeyboardInterrupt, Terminated):
        print("ended")
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(run_command(main))
