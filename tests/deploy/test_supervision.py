"""Under a service manager, whose part the tests play: the notify protocol, the watchdog, a socket that is
passed, and the change from one daemon to the next without a request lost."""

import http.client
import os
import select
import signal
import socket
import threading
import time

import pytest

from tests.http.conftest import DEADLINE_S, ENDLESS, Daemon, Hold, preloaded, read_response, wait_for

STALL_US = 800000


class Manager:
    """The socket that a daemon reports to."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(DEADLINE_S)
        self.variables = {"NOTIFY_SOCKET": "@" + address[1:].decode() if isinstance(address, bytes)
                          else address}

    def receive(self):
        """One message as a dictionary."""
        text = self.socket.recv(4096).decode()
        return dict(line.split("=", 1) for line in text.splitlines())

    def await_(self, key):
        """The first message from now on that has the key."""
        while key not in (message := self.receive()):
            pass
        return message

    def is_silent(self, seconds):
        return not select.select([self.socket], [], [], seconds)[0]

    def forget(self):
        while not self.is_silent(0):
            self.socket.recv(4096)

    def close(self):
        self.socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    manager = Manager(str(tmp_path / "notify") if request.param == "path"
                      else b"\0denoised-test-%d" % os.getpid())
    yield manager
    manager.close()


# ---- what it tells ------------------------------------------------------------------------------

def test_a_life_as_it_is_told(start_daemon, manager):
    daemon = start_daemon(variables=manager.variables, wait=False)
    message = manager.receive()
    assert message["STATUS"] == "Loading." and int(message["EXTEND_TIMEOUT_USEC"]) > 0
    assert "READY" not in message
    message = manager.await_("READY")
    daemon.await_line()
    assert message == {"READY": "1", "STATUS": f"Serving {daemon.url}."}
    assert daemon.get("/readyz").status_code == 200

    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    daemon.signal(signal.SIGHUP)
    message = manager.await_("RELOADING")
    assert message["RELOADING"] == "1"
    assert before <= int(message["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert manager.await_("READY")["READY"] == "1"

    client = daemon.send_post(ENDLESS)
    wait_for(lambda: daemon.metric("queue_rows") == ENDLESS["n"], "the rows")
    daemon.signal()
    message = manager.await_("STOPPING")
    while "EXTEND_TIMEOUT_USEC" not in message:
        message = manager.receive()
    assert f"{ENDLESS['n']} images" in message["STATUS"]
    client.close()
    assert daemon.wait() == 0


def test_ready_is_said_when_the_socket_answers(start_daemon, manager):
    daemon = start_daemon(variables=manager.variables, wait=False)
    manager.await_("READY")
    daemon.await_line()
    assert daemon.post({"label": 1, "steps": 1}).status_code == 200


def test_a_stop_while_loading(start_daemon, manager):
    daemon = start_daemon(variables=manager.variables, wait=False)
    assert "READY" not in manager.receive()
    daemon.signal()
    assert daemon.wait() == 0
    manager.await_("STOPPING")


@pytest.mark.parametrize("address", ["", "relative", "@", "/" + 200 * "x"])
def test_an_address_that_is_none(start_daemon, address):
    daemon = start_daemon(variables={"NOTIFY_SOCKET": address})
    assert [e["address"] for e in daemon.events() if e["event"] == "notify_failed"] == [address]
    assert daemon.get("/readyz").status_code == 200


def test_a_manager_that_is_gone(start_daemon, tmp_path):
    daemon = start_daemon(variables={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    daemon.signal(signal.SIGHUP)
    assert daemon.get("/readyz").status_code == 200


# ---- the watchdog -------------------------------------------------------------------------------

def test_the_watchdog_is_fed_while_steps_advance(start_daemon, tmp_path):
    manager = Manager(str(tmp_path / "notify"))
    daemon = start_daemon("--workers", 1, variables={
        **manager.variables, "WATCHDOG_USEC": str(STALL_US),
        **preloaded(HOLD_DIGIT=str(tmp_path / "hold"))})
    for _ in range(3):  # with nothing to do
        manager.await_("WATCHDOG")
    client = daemon.send_post(ENDLESS)
    wait_for(lambda: daemon.metric("steps_total") > 0, "steps")
    manager.forget()
    for _ in range(3):  # with much to do
        manager.await_("WATCHDOG")
    hold = Hold(tmp_path / "hold")
    small = daemon.send_post({"label": 1, "steps": 1})  # at whose end the one worker hangs
    hold.await_daemon()
    wait_for(lambda: [e for e in daemon.events() if e["event"] == "stalled"], "the stall to be seen")
    manager.forget()
    assert daemon.get("/livez").status_code == 200  # the loop turns: that alone is not enough
    assert manager.is_silent(4 * STALL_US / 1e6)
    os.unlink(hold.path)
    hold.release()
    manager.await_("WATCHDOG")
    wait_for(lambda: [e for e in daemon.events() if e["event"] == "advancing"], "the log to say so")
    assert len([e for e in daemon.events() if e["event"] == "stalled"]) == 1
    with small.makefile("rb") as stream:
        assert read_response(stream)[0] == 200
    small.close()
    client.close()
    manager.close()


@pytest.mark.parametrize("variables", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "-5"},
                                       {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}])
def test_no_watchdog(start_daemon, tmp_path, variables):
    manager = Manager(str(tmp_path / "notify"))
    daemon = start_daemon(variables={**manager.variables, **variables})
    manager.await_("READY")
    daemon.signal(signal.SIGHUP)
    # Every message between, however many.
    messages = [manager.receive()]
    while "READY" not in messages[-1]:
        messages.append(manager.receive())
    assert not [m for m in messages if "WATCHDOG" in m]
    manager.close()


# ---- a socket that is passed --------------------------------------------------------------------

def listening(address=("127.0.0.1", 0)):
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    server = socket.socket(family)
    server.bind(address)
    server.listen(1024)
    return server


def ask(connection, path="/livez"):
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    with connection.makefile("rb") as stream:
        return read_response(stream)


def test_a_passed_tcp_socket(start_daemon):
    with listening() as server:
        early = socket.create_connection(server.getsockname(), timeout=DEADLINE_S)
        daemon = start_daemon(passed=server, listen="127.0.0.1:1")  # which it could not have
        assert daemon.port == server.getsockname()[1]
        assert ask(early)[0] == 200  # had waited in the queue
        early.close()
        daemon.stop()


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_passed_unix_socket(start_daemon, tmp_path, kind):
    path = tmp_path / "s"
    address = str(path) if kind == "path" else b"\0denoised-socket-%d" % os.getpid()
    with listening(address) as server:
        daemon = start_daemon(passed=server)
        assert daemon.url == "unix:" + (address if kind == "path" else "@" + address[1:].decode())
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_S)
            client.connect(address)
            assert ask(client)[0] == 200
        daemon.stop()
        assert kind == "abstract" or path.exists()  # it was not its own to remove


def test_a_socket_for_another_process(start_daemon):
    daemon = start_daemon(variables={"LISTEN_FDS": "1", "LISTEN_PID": "1"})
    assert daemon.get("/livez").status_code == 200


def test_what_cannot_be_listened_on(tmp_path):
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))
    for i, wrong in enumerate([deaf, socket.socket(type=socket.SOCK_DGRAM), open(os.devnull)]):
        folder = tmp_path / str(i)
        folder.mkdir()
        with wrong:
            daemon = Daemon(folder, passed=wrong, wait=False)
            assert daemon.wait() == 1
        failed = [e for e in daemon.events() if e["event"] == "listen_failed"]
        assert "descriptor 3 " in failed[0]["reason"]


@pytest.mark.parametrize("names", ["admin:denoised.socket", "denoised.socket:admin"])
def test_the_admins_socket_is_known_by_its_name(start_daemon, names):
    with listening() as first, listening() as second:
        admin, other = (first, second) if names.startswith("admin") else (second, first)
        daemon = start_daemon(passed=[first, second], variables={"LISTEN_FDNAMES": names})
        assert daemon.port == other.getsockname()[1]
        for server, path, status in ((admin, "/admin/models", 200), (admin, "/v1/models", 404),
                                     (other, "/v1/models", 200), (other, "/admin/models", 404)):
            with socket.create_connection(server.getsockname(), timeout=DEADLINE_S) as client:
                assert ask(client, path)[0] == status, path
        daemon.stop()


def test_the_admins_socket_alone(start_daemon):
    with listening() as admin:
        daemon = start_daemon(passed=admin, variables={"LISTEN_FDNAMES": "admin"})
        assert daemon.port != admin.getsockname()[1]
        with socket.create_connection(admin.getsockname(), timeout=DEADLINE_S) as client:
            assert ask(client, "/admin/models")[0] == 200
        assert daemon.get("/v1/models").status_code == 200


def test_the_admins_socket_is_not_served_before_its_time(start_daemon, tmp_path):
    """Another daemon may serve it, or the next one will."""
    hold = Hold(tmp_path / "hold")
    with listening() as admin, socket.create_connection(admin.getsockname(), timeout=DEADLINE_S) as early:
        early.sendall(b"GET /admin/models HTTP/1.1\r\nHost: x\r\n\r\n")
        daemon = start_daemon(passed=admin, wait=False, listen=f"unix:{tmp_path}/s",
                              variables={"LISTEN_FDNAMES": "admin", **preloaded(HOLD_MODELS=hold.path)})
        hold.await_daemon()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_S)
            wait_for(lambda: client.connect_ex(f"{tmp_path}/s") == 0, "it to listen")
            assert ask(client)[0] == 200
        hold.release()
        daemon.await_line()
        with early.makefile("rb") as stream:
            assert read_response(stream)[0] == 200
        daemon.signal()
        assert daemon.wait() == 0
        # Who comes too late stays in its queue.
        with socket.create_connection(admin.getsockname(), timeout=DEADLINE_S) as late:
            next_one = start_daemon(passed=admin, variables={"LISTEN_FDNAMES": "admin"})
            assert ask(late, "/admin/models")[0] == 200
            next_one.stop()


@pytest.mark.parametrize("names", ["a:b", "admin:admin", ""])
def test_too_many_sockets(tmp_path, names):
    with listening() as first, listening() as second:
        daemon = Daemon(tmp_path, passed=[first, second], variables={"LISTEN_FDNAMES": names}, wait=False)
        assert daemon.wait() == 1
        failed = [e for e in daemon.events() if e["level"] == "error"]
        assert "LISTEN_FDS is '2'" in failed[0]["reason"]


# ---- leaving ------------------------------------------------------------------------------------

def is_draining(daemon):
    return any(e["event"] == "draining" for e in daemon.events())


def test_readiness_fails_before_anything_is_refused(start_daemon):
    daemon = start_daemon("--drain-delay-s", 3600)
    kept = daemon.connect()
    assert ask(kept)[0] == 200
    daemon.signal()
    wait_for(lambda: is_draining(daemon), "the signal")
    assert daemon.get("/readyz").status_code == 503
    answer = daemon.post({"label": 1, "steps": 1})
    assert answer.status_code == 200 and answer.headers["Connection"] == "close"
    status, headers, _ = ask(kept)  # a connection that is kept alive is not cut, but ends here
    assert status == 200 and headers["connection"].lower() == "close" and kept.recv(1) == b""
    kept.close()
    daemon.signal()  # a second one does not wait
    assert daemon.wait() == 0


def test_the_delay_ends_by_itself(start_daemon):
    daemon = start_daemon("--drain-delay-s", 1)
    daemon.signal()
    assert daemon.wait() == 0


def test_a_passed_socket_keeps_who_comes_too_late(start_daemon):
    with listening() as server:
        first = start_daemon(passed=server)
        accepted, silent = first.connect(), first.connect()
        wait_for(lambda: first.metric("http_connections") == 3, "both to be accepted")
        work = first.send_post(ENDLESS)
        wait_for(lambda: first.metric("queue_rows") == ENDLESS["n"], "work")
        first.signal()
        wait_for(lambda: is_draining(first), "the signal")
        late = socket.create_connection(server.getsockname(), timeout=DEADLINE_S)
        late.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        # Who was accepted is served, although it asks only now.
        status, headers, body = ask(accepted, "/v1/samples/7.png?seed=1&steps=1")
        assert status == 200 and headers["connection"].lower() == "close" and body[1:4] == b"PNG"
        work.close()
        assert first.wait() == 0
        second = start_daemon(passed=server)
        with late.makefile("rb") as stream:
            assert read_response(stream)[0] == 200
        for client in (accepted, silent, late):
            client.close()
        second.stop()


class Client(threading.Thread):
    """Connects, asks, reads, again and again; by turns with a connection for each request and one that is kept
    as long as the server says. Any failure ends it and is kept."""

    def __init__(self, address, seed):
        super().__init__()
        self.address, self.seed = address, seed
        self.leave = threading.Event()
        self.answers, self.failure = 0, None

    def once(self, connection, i):
        path = f"/v1/samples/{i % 10}.png?seed={self.seed * 100000 + i}&steps=2"
        headers = {"Connection": "close"} if self.seed % 2 else {}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200 and body.startswith(b"\x89PNG"), (answer.status, body)
        self.answers += 1

    def run(self):
        try:
            i = 0
            while not self.leave.is_set():
                connection = http.client.HTTPConnection(*self.address, timeout=DEADLINE_S)
                with_close = False
                while not with_close and not self.leave.is_set():
                    self.once(connection, i)
                    i += 1
                    with_close = connection.sock is None  # the answer closed it
                connection.close()
        except Exception as e:
            self.failure = e


REPLACEMENTS = int(os.environ.get("REPLACEMENTS", "3"))


@pytest.mark.parametrize("order", ["stop, then start", "start, then stop"])
def test_a_new_daemon_takes_over(start_daemon, order):
    with listening() as server:
        daemon = start_daemon(passed=server)
        clients = [Client(server.getsockname(), seed) for seed in range(4)]
        for client in clients:
            client.start()
        asked = 0
        for _ in range(REPLACEMENTS):
            # Each daemon has answered every client before it goes.
            counts = [c.answers for c in clients]
            wait_for(lambda: all(c.answers > n or c.failure for c, n in zip(clients, counts)), "answers")
            old = daemon
            if order == "stop, then start":
                old.signal()
                assert old.wait() == 0
                daemon = start_daemon(passed=server)
            else:
                daemon = start_daemon(passed=server)
                old.signal()
                assert old.wait() == 0
            refused = [e for e in old.events() if e["event"] == "request" and e["status"] != 200]
            assert not refused, refused
            asked += len([e for e in old.events() if e["event"] == "request"])
        for client in clients:
            client.leave.set()
        for client in clients:
            client.join(DEADLINE_S)
            assert not client.is_alive() and client.failure is None, client.failure
        daemon.stop()
        asked += len([e for e in daemon.events() if e["event"] == "request"])
        assert asked == sum(client.answers for client in clients)
