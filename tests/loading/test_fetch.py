import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genmatter.errors import DataError
from genmatter.loading.fetch import cache_folder, fetch

BODY = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        answer = {"/missing.npz": 404, "/broken.npz": 500}.get(self.path, 200)
        away = {"/moved.npz": "/data/x.npz", "/away.npz": self.server.outside}.get(self.path)
        self.send_response(302 if away else answer)
        if away:
            self.send_header("Location", away)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[: 100_000 if self.path == "/cut.npz" else None])

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        server.address = f"http://127.0.0.1:{server.server_port}"
        server.outside = f"http://0.0.0.0:{server.server_port}/data/x.npz"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def kept(folder):
    return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("sha256", [None, SHA256, SHA256.upper()])
def test_a_file_is_fetched_once(server, tmp_path, sha256):
    server.asked.clear()
    folder = tmp_path / "not" / "there"
    path = fetch(server.address + "/data/x.npz?raw=true", sha256, folder)
    assert path == fetch(server.address + "/data/x.npz?raw=true", sha256, folder)
    assert path.read_bytes() == BODY
    assert path.name.endswith("-x.npz")
    assert server.asked == ["/data/x.npz?raw=true"]
    assert kept(folder) == [path.name, path.name + ".sha256"]
    assert (folder / (path.name + ".sha256")).read_text() == f"{SHA256}  {path.name}\n"


def test_addresses_do_not_share_a_file(server, tmp_path):
    a, b = (fetch(f"{server.address}/{x}/x.npz", cache=tmp_path) for x in "ab")
    assert a != b


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_a_copy_that_has_changed_is_fetched_again(server, tmp_path, sha256):
    path = fetch(server.address + "/data/x.npz", sha256, tmp_path)
    path.write_bytes(BODY[:-1])
    assert fetch(server.address + "/data/x.npz", sha256, tmp_path).read_bytes() == BODY


def test_a_redirection_is_followed(server, tmp_path):
    assert fetch(server.address + "/moved.npz", SHA256, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.npz", r"cannot fetch .*missing.npz \(404 Not Found\); .* --data FILE"),
        ("broken.npz", r"\(500 "),
        ("cut.npz", r"100000.*--data FILE"),
        ("away.npz", "http://0.0.0.0.* is not protected"),
    ],
)
def test_a_download_that_fails_leaves_nothing(server, tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        fetch(f"{server.address}/{name}", cache=tmp_path)
    assert kept(tmp_path) == []


def test_another_checksum_is_refused_and_leaves_nothing(server, tmp_path):
    with pytest.raises(DataError, match=f"has the SHA-256 {SHA256}, but {'0' * 64} was expected"):
        fetch(server.address + "/data/x.npz", "0" * 64, tmp_path)
    assert kept(tmp_path) == []


def test_a_refused_copy_does_not_replace_a_good_one(server, tmp_path):
    path = fetch(server.address + "/data/x.npz", SHA256, tmp_path)
    with pytest.raises(DataError, match="was expected"):
        fetch(server.address + "/data/x.npz", "0" * 64, tmp_path)
    assert fetch(server.address + "/data/x.npz", SHA256, tmp_path) == path


def test_without_a_network_one_is_told_what_to_do(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        closed = f"http://127.0.0.1:{server.server_port}/x.npz"
    with pytest.raises(DataError, match=r"refused.*download it by hand elsewhere .* --data FILE"):
        fetch(closed, cache=tmp_path)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://example.org/x.npz", "is not protected on its way"),
        ("ftp://example.org/x.npz", "is not protected on its way"),
        ("file:///etc/passwd", "is no address"),
        ("https:///x.npz", "is no address"),
        ("https://[x/y.npz", "is no address"),
        ("x.npz", "is no address"),
        ("", "is no address"),
    ],
)
def test_what_is_no_safe_address_is_refused(address, message, tmp_path):
    with pytest.raises(DataError, match=message):
        fetch(address, cache=tmp_path)


def test_a_cache_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="set GENMATTER_CACHE to a folder"):
        fetch(server.address + "/data/x.npz", cache=tmp_path / "file" / "cache")


def test_the_cache_is_where_the_environment_says(server, tmp_path, monkeypatch):
    monkeypatch.setenv("GENMATTER_CACHE", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c"
    assert fetch(server.address + "/data/x.npz").parent == tmp_path / "c"
    monkeypatch.delenv("GENMATTER_CACHE")
    assert cache_folder().parts[-2:] == (".cache", "genmatter")


def test_no_progress_bar_is_drawn_into_a_file(server, tmp_path, capfd):
    fetch(server.address + "/data/x.npz", cache=tmp_path)
    assert capfd.readouterr() == ("", "")
