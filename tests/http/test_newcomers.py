"""At --max-connections a newcomer gets the place of whoever is idle for the longest time, and of nobody else."""

import select
import socket
import subprocess

from .conftest import BINARY, DEADLINE_S, ENDLESS, read_response, wait_for

ASK = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


def answer_of(client):
    stream = client.makefile("rb")
    return read_response(stream)[0] if select.select([client], [], [], DEADLINE_S)[0] else None


def ask(client):
    client.sendall(ASK)
    return answer_of(client)


def fill(daemon, n):
    """Clients that are idle, the first for the longest time."""
    clients = [daemon.connect() for _ in range(n)]
    for client in clients:
        assert ask(client) == 200
    return clients


def is_open(client):
    return not select.select([client], [], [], 0)[0]


def close(*clients):
    for client in clients:
        client.close()


def test_the_longest_idle_one_makes_room(start_daemon):
    daemon = start_daemon("--max-connections", 8)
    clients = fill(daemon, 8)
    assert ask(clients[0]) == 200  # now clients[1] is idle for the longest time
    newcomer = daemon.connect()
    assert ask(newcomer) == 200
    assert [is_open(client) for client in clients] == [True, False] + 6 * [True]
    assert clients[1].recv(1) == b""
    assert [ask(client) for client in clients[:1] + clients[2:]] == 7 * [200]
    close(newcomer, *clients)


def test_each_of_many_newcomers_gets_a_place(start_daemon):
    daemon = start_daemon("--max-connections", 4)
    clients = fill(daemon, 4)
    newcomers = [daemon.connect() for _ in range(3)]
    for newcomer in newcomers:
        newcomer.sendall(ASK)
    assert [answer_of(newcomer) for newcomer in newcomers] == 3 * [200]
    assert [is_open(client) for client in clients] == [False, False, False, True]
    close(*newcomers, *clients)


def test_a_probe_is_answered_beside_idle_and_silent_clients(start_daemon):
    daemon = start_daemon("--max-connections", 4, "--request-timeout-s", 300)
    clients = [daemon.connect() for _ in range(8)]  # they say nothing; four of them wait as newcomers do
    done = subprocess.run([BINARY, "health", "--listen", f"127.0.0.1:{daemon.port}", "--timeout-s", "20"],
                          capture_output=True, text=True, timeout=DEADLINE_S)
    assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr
    close(*clients)


def test_the_admin_listener_makes_room_too(start_daemon, tmp_path):
    path = f"{tmp_path}/admin.sock"
    start_daemon("--admin-listen", f"unix:{path}")
    clients = []
    for _ in range(9):  # HTTP_ADMIN_CONNECTIONS, and one
        clients.append(socket.socket(socket.AF_UNIX))
        clients[-1].settimeout(DEADLINE_S)
        clients[-1].connect(path)
        assert ask(clients[-1]) == 404  # probes are not asked there
    assert [is_open(client) for client in clients] == [False] + 8 * [True]
    close(*clients)


def test_a_request_never_loses_its_connection(start_daemon):
    daemon = start_daemon("--max-connections", 4, "--workers", 1)
    begun, *idle = fill(daemon, 3)
    begun.sendall(ASK[:20])  # idle for the longest time, by its last answer
    working = daemon.send_post(ENDLESS)
    for _ in range(2):  # one after the other gets the place of an idle one
        newcomer = daemon.connect()
        assert ask(newcomer) == 200
        idle.append(newcomer)
    assert [is_open(client) for client in idle] == [False, False, True, True]
    begun.sendall(ASK[20:])
    assert answer_of(begun) == 200
    assert is_open(working)
    close(begun, working, *idle)


def test_when_all_are_busy_a_newcomer_waits(start_daemon):
    daemon = start_daemon("--max-connections", 2, "--workers", 1)
    busy = [daemon.send_post(ENDLESS) for _ in range(2)]
    newcomer = daemon.connect()
    newcomer.sendall(ASK)
    assert is_open(newcomer) and is_open(busy[0])
    busy[0].close()
    assert answer_of(newcomer) == 200 and is_open(busy[1])
    close(newcomer, busy[1])


def test_who_waits_gets_the_place_of_a_request_that_has_ended(start_daemon):
    daemon = start_daemon("--max-connections", 2, "--workers", 1)
    busy = [daemon.send_post(ENDLESS), daemon.send_post({"label": 1, "n": 256, "steps": 5})]
    newcomer = daemon.connect()
    newcomer.sendall(ASK)
    assert answer_of(newcomer) == 200
    stream = busy[1].makefile("rb")
    assert read_response(stream)[0] == 200 and is_open(busy[0])
    wait_for(lambda: not is_open(busy[1]), "the end of the idle one")
    assert stream.read(1) == b""
    close(newcomer, *busy)
