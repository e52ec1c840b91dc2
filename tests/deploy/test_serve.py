"""The server of an index over real HTTP: its API, and what attacks it."""

from __future__ import annotations

import base64
import http.client
import io
import json
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

import pytest
from helpers import COCO_LITE, drawn_image, fail, running
from PIL import Image
from served_index import HTML_LABEL, HTML_NAME, make_index, open_index, serving

from deploy.search import serve
from utils.search.index import ImageIndex, load_encoder, open_store
from utils.search.store import SqliteStore
from utils.system.errors import UserError

TOKEN = "a_token-of_24-characters"
SERVE = "deploy/search/serve.py"


@pytest.fixture(scope="module")
def folder(scratch):
    make_index(scratch).__exit__()
    return scratch


@pytest.fixture(scope="module")
def address(folder):
    with serving(open_index(folder)) as (address, _):
        yield address


@pytest.fixture
def index(folder):
    with open_index(folder) as index:
        yield index


def ask(address, path, body=None, **headers):
    """Status, headers and body of an answer; JSON is read."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET" if body is None else "POST", path, body, names)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.headers["Content-Type"].startswith("application/json"):
        content = json.loads(content)
    return answer.status, answer.headers, content


def results(address, path, body=None):
    status, _, content = ask(address, path, body)
    assert status == 200, content
    return content["results"]


def raw(address, request: bytes) -> bytes:
    """What is answered to bytes, after which nothing more is sent."""
    with socket.create_connection(urlsplit(address).netloc.split(":"), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_a_search_gives_what_the_index_gives(address, index, folder):
    path = sorted((folder / "images/val2014").iterdir())[3]
    expected = [{**hit._asdict(), "id": str(hit.id)} for hit in index.search(path, 7)]
    expected = json.loads(json.dumps(expected))
    found = results(address, "/api/search?k=7", path.read_bytes())
    assert found == expected and found[0]["distance"] == 0 and found[0]["path"] == str(path)
    assert results(address, f"/api/search?id={found[0]['id']}&k=7") == expected
    near = results(address, "/api/search?k=1000&max_distance=9", path.read_bytes())
    every = index.search(path, 1000)
    assert [hit["distance"] for hit in near] == [h.distance for h in every if h.distance <= 9]
    labelled = results(
        address, "/api/search?label=train2014&k=1000&max_distance=", path.read_bytes()
    )
    assert len(labelled) == 15 and all(hit["labels"] == ["train2014"] for hit in labelled)
    assert results(address, "/api/search?label=none", path.read_bytes()) == []
    assert len(results(address, "/api/search", path.read_bytes())) == 10


def test_info_says_what_is_searched(address, index):
    status, _, info = ask(address, "/api/info")
    assert status == 200 and info == {**index.info(), "max_k": 1000, "max_bytes": 32 << 20}
    assert info["images"] == 31


def test_what_is_added_meanwhile_is_found(address, index, folder):
    new = folder / "new.png"
    drawn_image(300, 300, seed=5).save(new)
    index.add(new)
    (hit,) = results(address, "/api/search?k=1", new.read_bytes())
    assert hit["path"] == str(new) and hit["distance"] == 0
    new.unlink()
    assert ask(address, f"/thumbnail/{hit['id']}")[0] == 404
    index.remove(new)
    assert ask(address, f"/api/search?id={hit['id']}")[0] == 404


def test_an_index_that_cannot_be_read_is_no_missing_image(address, monkeypatch):
    def fails(*_):
        raise UserError("images.db: disk I/O error")

    monkeypatch.setattr(SqliteStore, "get", fails)
    for path in ("/api/search?id=1", "/thumbnail/1"):
        status, _, content = ask(address, path)
        assert (status, content["error"]) == (503, "images.db: disk I/O error")


def test_html_in_names_and_labels_stays_text(address, folder):
    (hit,) = results(address, f"/api/search?k=1&label={quote(HTML_LABEL)}", image_bytes())
    assert hit["labels"] == [HTML_LABEL] and hit["path"].endswith(HTML_NAME)
    assert (
        results(
            address,
            f"/api/search?label={quote(chr(39) + ' OR path LIKE ' + chr(39))}&id={hit['id']}",
        )
        == []
    )


def image_bytes(kind="PNG", size=(60, 50)) -> bytes:
    file = io.BytesIO()
    drawn_image(*size).save(file, kind)
    return file.getvalue()


def test_thumbnails_are_small_upright_and_made_once(address, index, folder, monkeypatch):
    turned, exif = folder / "turned.jpg", Image.Exif()
    exif[0x0112] = 6  # turn it by 90°
    drawn_image(600, 300).save(turned, exif=exif)
    index.add(turned)
    (hit,) = index.search(turned, 1)
    opened = []
    real = serve.open_image
    monkeypatch.setattr(serve, "open_image", lambda *a, **k: opened.append(a) or real(*a, **k))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(address, f"/thumbnail/{hit.id}"), range(16)))
    assert {(status, headers["Content-Type"].split(";")[0]) for status, headers, _ in answers} == {
        (200, "image/jpeg")
    }
    assert Image.open(io.BytesIO(answers[0][2])).size == (128, 256)
    assert len(opened) == 1
    index.remove(turned)


REFUSED = {
    "/thumbnail/../../../../etc/passwd": 404,
    "/thumbnail/..%2f..%2fetc%2fpasswd": 404,
    "/thumbnail//etc/passwd": 404,
    "/thumbnail/-1": 404,
    "/thumbnail/7": 404,
    "/thumbnail/99999999999999999999": 404,
    "/thumbnail/9999999999999999": 404,
    "/thumbnail/%D9%A1": 404,
    "/page.css/../serve.py": 404,
    "/../serve.py": 404,
    "/serve.py": 404,
    "/page.": 404,
    "/api/search": 400,
    "/api/search?id=": 400,
    "/api/search?id=x": 400,
    "/api/search?id=9999999999999999999": 400,
    "/api/search?id=7": 404,
    "/api/search?id=7&k=0": 400,
    "/api/search?id=7&k=1001": 400,
    "/api/search?id=7&k=1.5": 400,
    "/api/search?id=7&max_distance=-1": 400,
    "/api/search?id=7&path=/etc/passwd": 400,
    "/api/search?id=7&label=" + "a" * 20_000: 400,
    "/api/search?" + "&".join(f"k={n}" for n in range(99)): 400,
}


@pytest.mark.parametrize("path", REFUSED)
def test_what_is_not_there_is_one_clear_status(address, path):
    status, _, answer = ask(address, path)
    assert status == REFUSED[path] and list(answer) == ["error"]
    assert "Traceback" not in answer["error"]


def test_letters_beyond_ascii_may_come_as_they_are(address):
    answer = raw(address, "GET /api/search?grün=1 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"].startswith("'grün': not known")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("HEAD / HTTP/1.1", 501),
        ("DELETE /api/search?id=7 HTTP/1.1", 501),
        ("GET / HTTP/9.9", 505),
        ("GET", 400),
        ("GET http://[/ HTTP/1.1", 400),
        ("GET /" + "a" * 70_000 + " HTTP/1.1", 414),
        ("POST /api/search HTTP/1.1", 411),
        ("POST /api/search HTTP/1.1\r\nContent-Length: -5", 411),
        ("POST /api/search HTTP/1.1\r\nTransfer-Encoding: chunked", 411),
        ("POST /api/info HTTP/1.1\r\nContent-Length: 0", 405),
        ("GET /api/info HTTP/1.1\r\n" + "\r\n".join(f"X-{n}: 1" for n in range(200)), 431),
    ],
)
def test_odd_requests_are_one_clear_status(address, request_line, status):
    answer = raw(address, f"{request_line}\r\nHost: localhost\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]


@pytest.mark.parametrize("path", ["/", "/page.js", "/api/info", "/nowhere", "/thumbnail/7"])
def test_every_answer_is_safe_in_a_browser(address, path):
    _, headers, _ = ask(address, path)
    assert headers["Content-Security-Policy"] == "default-src 'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers and "Python" not in headers["Server"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("localhost", 200), ("LOCALHOST:8000", 200), ("127.0.0.1:9", 200), ("[::1]:80", 200)),
        *(("evil.example", 403), ("localhost.evil.example", 403), ("192.168.1.5:8000", 403)),
        *(("", 403), ("[::1", 403), ("localhost@evil.example", 403)),
    ],
)
def test_a_name_that_is_not_ours_is_refused(address, host, status):
    assert ask(address, "/api/info", Host=host)[0] == status


def test_a_token_is_needed_where_there_is_one(folder):
    def basic(password):
        return f"Basic {base64.b64encode(f'me:{password}'.encode()).decode()}"

    with serving(open_index(folder), TOKEN) as (address, _):
        for path in ("/", "/api/info", "/page.js", "/thumbnail/7"):
            status, headers, answer = ask(address, path)
            assert status == 401 and headers["WWW-Authenticate"].startswith("Basic")
            assert TOKEN not in str(answer)
        assert ask(address, "/api/search", image_bytes())[0] == 401
        for given in (f"Bearer {TOKEN}", f"bearer {TOKEN}", basic(TOKEN)):
            assert ask(address, "/api/info", Authorization=given, Host="search.example")[0] == 200
        for given in (TOKEN, "Bearer", f"Bearer {TOKEN}x", basic(""), "Basic !", "Bearer \xe9"):
            assert ask(address, "/api/info", Authorization=given)[0] in (400, 401)


@pytest.mark.parametrize(
    "content",
    [
        *(
            b"",
            b"no image",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"%!PS-Adobe-3.0 EPSF-3.0",
        ),
        image_bytes("JPEG", (400, 300))[:2000],
        b"P6 40000 40000 255\n" + bytes(99),
    ],
    ids=["empty", "text", "svg", "eps", "cut off", "bomb"],
)
def test_a_file_that_is_no_image_is_told_in_plain_words(address, content):
    status, _, answer = ask(address, "/api/search", content)
    assert status == 415 and answer["error"].startswith("not an image that can be decoded: ")
    assert "BytesIO" not in answer["error"]


def test_a_body_that_is_too_large_is_refused_though_it_is_sent(address, monkeypatch):
    monkeypatch.setattr(serve, "MAX_BODY", 1 << 20)
    status, _, answer = ask(address, "/api/search", bytes(20 << 20))
    assert status == 413 and "at most" not in answer["error"] and "1,048,576" in answer["error"]


def test_large_images_are_taken_few_at_a_time(address, monkeypatch):
    monkeypatch.setattr(serve, "LARGE_BODY", 100)
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(ask, address, "/api/search?k=1", image_bytes()) for _ in range(40)]
    assert {job.result()[0] for job in asked} == {200}


def test_what_comes_too_slowly_is_ended(folder, monkeypatch):
    monkeypatch.setattr(serve, "REQUEST_SECONDS", 1)
    head = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n\r\n"
    with serving(open_index(folder)) as (address, _):
        where, began = urlsplit(address).netloc.split(":"), time.monotonic()
        idle, slow = (socket.create_connection(where, 20) for _ in range(2))
        slow.sendall(head)
        for _ in range(4):  # a byte now and then does not make it longer
            slow.sendall(b"x")
            time.sleep(0.2)
        assert slow.recv(1 << 16).startswith(b"HTTP/1.1 408 ")
        assert idle.recv(10) == b""
        idle.close()
        slow.close()
        assert time.monotonic() - began < 10


def test_connections_beyond_the_limit_wait_for_their_turn(folder, monkeypatch):
    monkeypatch.setattr(serve, "REQUEST_SECONDS", 1)
    monkeypatch.setattr(serve, "CONNECTIONS", 4)
    with serving(open_index(folder)) as (address, _):
        where = urlsplit(address).netloc.split(":")
        idle = [socket.create_connection(where, 20) for _ in range(6)]
        assert ask(address, "/api/info")[0] == 200
        assert threading.active_count() < 20
        for connection in idle:
            connection.close()


def test_200_requests_at_a_time(address, index, folder):
    paths = sorted((folder / "images/train2014").iterdir())
    expected = {path: [str(hit.id) for hit in index.search(path, 5)] for path in paths}

    def one(number):
        path = paths[number % len(paths)]
        kind, first = number % 3, expected[path][0]
        if kind == 2:
            return ask(address, f"/thumbnail/{first}")[0] == 200
        body, asked = (path.read_bytes(), "") if kind else (None, f"&id={first}")
        return [hit["id"] for hit in results(address, f"/api/search?k=5{asked}", body)] == expected[
            path
        ]

    with ThreadPoolExecutor(200) as pool:
        assert all(pool.map(one, range(200)))


def test_a_port_that_is_taken_is_told(address, index):
    with pytest.raises(UserError, match=r"^--host 127.0.0.1 --port \d+: Address already in use"):
        serve.Server(("127.0.0.1", urlsplit(address).port), index)


@pytest.mark.parametrize("host", ["ü" * 100, "a" * 300])
def test_what_is_no_host_s_name_is_told(index, host):
    with pytest.raises(UserError, match=f"^--host {host} --port 0: "):
        serve.Server((host, 0), index)


def test_the_command_serves_until_sigterm(weights_16, tmp_path, monkeypatch):
    model = {"bit": 16, "pretrained": str(weights_16)}
    with ImageIndex(open_store(str(tmp_path / "i.db")), load_encoder(model, "cpu"), model) as index:
        index.add(sorted((COCO_LITE / "val2014").iterdir())[:5])
    with running(SERVE, tmp_path / "i.db", "--port", 0, "--device", "cpu") as job:
        assert "5 images, codes of 16 bits" in job.stdout.readline()
        address = job.stdout.readline().split()[0]
        query = sorted((COCO_LITE / "val2014").iterdir())[2]
        assert results(address, "/api/search?k=1", query.read_bytes())[0]["path"] == str(query)
        slow = socket.create_connection(urlsplit(address).netloc.split(":"))
        job.send_signal(signal.SIGTERM)
        assert job.wait(20) == 0
        slow.close()
        assert job.stdout.read() == "ended\n" and job.stderr.read() == ""


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0: lets others in; --token makes a token for them"),
        (["--host", "0.0.0.0", "--token", "short"], "--token: expected 16 or more"),
        (["--host", "0.0.0.0", "--token", ""], "--token: expected 16 or more"),
        ([], "no index is there"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, flags, told):
    assert told in fail(SERVE, tmp_path / "none.db", *flags)
    assert not list(tmp_path.iterdir())
