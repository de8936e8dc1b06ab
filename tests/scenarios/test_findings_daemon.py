"""Each kind of finding that servers, dials and limits cause, as the daemon finds it: real sockets, one behaviour each.
What clients do is in test_matrix.py."""

import base64
import select
import signal
import socket
import threading
import time

import pytest

from rig import sockets
from rig.client import Background, Client
from rig.origin import always, answer
from rig.wait import Gate, until


def find(daemon, kind, side="upstream", count=1):
    """The finding of that kind, as soon as it is there with so many occurrences."""
    def seen():
        return [f for f in daemon.get(f"/findings?kind={kind}")["findings"] if f["side"] == side and f["count"] >= count]
    return until(seen, lambda: f"{kind}: {[(f['side'], f['kind'], f['count']) for f in daemon.get('/findings')['findings']]}")[0]


def kinds(daemon, side="upstream"):
    return {f["kind"] for f in daemon.get("/findings")["findings"] if f["side"] == side}


def ask(daemon, url, times=1, method="GET", fields=(), body=None, pause=0.0):
    """Requests one after the other on one client connection; their statuses."""
    out = []
    client = daemon.client()
    for _ in range(times):
        client.ask(url, method, fields=fields, body=body)
        out.append(client.response().status)
        time.sleep(pause)
    client.close()
    return out


def test_connection_refused_and_the_address(daemon):
    subject = daemon()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        authority = "127.0.0.1:%d" % closed.getsockname()[1]
        assert ask(subject, f"http://{authority}/", 2) == [502, 502]
    found = find(subject, "connection_refused", count=2)
    assert found["count"] == 2 and found["subject"]["key"] == authority and found["confidence"] == "confirmed"


def test_dial_failures_by_cause(daemon):
    subject = daemon()
    assert ask(subject, "http://no-such-name.invalid/") == [502]
    found = find(subject, "dial_failures")
    assert found["evidence"]["unresolved"] == 1 and "connection_refused" not in kinds(subject)


def test_truncated_response(daemon, serve):
    def script(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 3000)
        conn.fin()
    subject, origin = daemon(), serve(script)
    client = subject.client()
    client.ask(origin.url())
    client.response()
    found = find(subject, "truncated_response")
    assert found["evidence"]["body_read"] == 3000 and found["evidence"]["body_announced"] == 5000
    assert found["by_status"] == {"2xx": 1}


def test_a_body_until_the_end_is_not_truncated(daemon, serve):
    def script(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300)
        conn.fin()
    subject, origin = daemon(), serve(script)
    ask(subject, origin.url())
    until(lambda: subject.get("/metrics")["upstream"]["closes"].get("until_eof") == 1, "the end is written down")
    assert not kinds(subject)


def test_bytes_beyond_the_announced_end(daemon, serve):
    subject, origin = daemon(), serve(always(answer(b"x" * 10) + b"y" * 500))
    assert ask(subject, origin.url()) == [200]
    found = find(subject, "excess_response_bytes")
    assert found["evidence"]["excess_bytes"] == 500 and "unsolicited_response" not in kinds(subject)


def test_an_answer_that_nobody_asked_for(daemon, serve):
    subject_idle = threading.Event()

    def script(conn):
        conn.read_request()
        conn.send(answer(b"ok"))
        subject_idle.wait()
        conn.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        conn.fin()
    subject, origin = daemon(), serve(script)
    ask(subject, origin.url())
    until(lambda: subject.get("/metrics")["pool"]["idle"] == 1, "idle")
    subject_idle.set()
    assert find(subject, "unsolicited_response")["count"] == 1
    assert "excess_response_bytes" not in kinds(subject)


def test_a_server_that_forbids_reuse(daemon, serve):
    subject, origin = daemon(), serve(always(answer(b"ok", fields=("Connection: close",))))
    ask(subject, origin.url(), 4)
    found = find(subject, "server_disables_keepalive", count=3)
    assert found["evidence"]["responses"] >= 3
    assert kinds(subject, "downstream") == set()  # the client did nothing wrong


def test_a_server_that_limits_requests(daemon, serve):
    def script(conn):
        for n in range(3):
            conn.read_request()
            conn.send(answer(b"ok", fields=("Connection: close",) if n == 2 else ()))
        conn.fin()
    subject, origin = daemon(), serve(script)
    ask(subject, origin.url(), 9)
    found = find(subject, "server_limits_requests")
    assert found["evidence"]["nth"] == 3 and found["severity"] == "info"


@pytest.mark.parametrize("end, kind", [("fin", "server_closes_idle"), ("rst", "server_resets_idle")])
def test_a_server_that_ends_idle_connections(daemon, serve, end, kind):
    def script(conn):
        conn.read_request()
        conn.send(answer(b"ok"))
        idle[conn.index].wait()
        time.sleep(0.15)  # its idle timeout, but for what a busy machine adds
        getattr(conn, end)()
    idle = [Gate(f"connection {n}") for n in range(3)]
    subject, origin = daemon(), serve(script)
    for n in range(1, 4):
        ask(subject, origin.url())
        until(lambda: subject.get("/metrics")["pool"]["idle"] == 1, "it is idle")
        idle[n - 1].open()
        until(lambda: sum(subject.get("/metrics")["upstream"]["closes"].values()) == n, "it ended it")
    found = find(subject, kind, count=2)
    assert found["evidence"]["redials"] >= 1
    assert 140 <= found["evidence"]["idle_timeout_ms"] < 20_000
    learned = [p["learned"] for p in subject.get("/pools")["pools"] if p["learned"]]
    assert learned[0]["idle_timeout_ms"] >= 140


def test_a_request_that_met_the_servers_close(daemon, serve):
    """The second request on a connection finds it closed, and is sent again on a new one."""
    def script(conn):
        conn.read_request()
        conn.send(answer(b"ok"))
        if conn.index == 0:
            conn.read_request()
            conn.fin()
            return
        while True:
            conn.read_request()
            conn.send(answer(b"ok"))
    subject, origin = daemon(), serve(script)
    assert ask(subject, origin.url(), 2) == [200, 200]
    found = find(subject, "stale_reuse_race")
    assert found["evidence"]["retried"] == 1 and found["evidence"]["failed"] == 0


def test_requests_that_wait_for_a_connection(daemon, serve):
    def script(conn):
        while True:
            conn.read_request()
            if len(conn.requests) <= 2:
                subject.wait_waiting(2)
            time.sleep(0.05)  # the server's work
            conn.send(answer(b"ok"))
    subject, origin = daemon(settings={"pool.max_conns_per_host": 1}), serve(script)
    workers = [Background(ask, subject, origin.url(), 3) for _ in range(3)]
    assert [w.result() for w in workers] == [[200] * 3] * 3
    found = find(subject, "pool_wait", count=3)
    assert found["evidence"]["wait_max_ms"] >= 40


def test_a_server_that_answers_before_it_has_read_the_request(daemon, serve):
    def script(conn):
        conn.read_head()
        conn.send(answer(b"no", "413 Content Too Large", fields=("Connection: close",)))
        conn.fin()
    subject, origin = daemon(), serve(script)
    client = subject.client()
    client.send(f"POST {origin.url()} HTTP/1.1\r\nHost: {origin.authority}\r\nContent-Length: 50000000\r\n\r\n" + "x" * 1000)
    assert client.response("POST").status == 413
    assert find(subject, "early_error_response")["by_status"] == {"4xx": 1}


def test_clients_that_do_not_wait_for_an_answer(daemon, serve):
    def script(conn):
        conn.read_request()
        conn.wait_read()
    subject, origin = daemon(), serve(script)
    for n in range(3):
        client = subject.client()
        client.ask(origin.url())
        origin.wait_requests(n + 1)
        time.sleep(0.1)  # its patience
        client.close()
    found = find(subject, "request_timeout", "downstream", count=3)
    assert found["count"] == 3 and found["subject"]["client"]["address"] == "127.0.0.1" and found["by_status"] == {"none": 3}
    # What the daemon said after that was no body that anybody gave up.
    assert subject.get("/metrics")["downstream"]["early_body_closes"] == 0
    assert {c["close"]["phase"] for c in subject.get("/connections?side=downstream&state=closed")["connections"]} == {"in_request"}


def test_http10_clients(daemon, serve):
    subject, origin = daemon(), serve(always(answer(b"ok")))
    for _ in range(3):
        client = Client(subject.address)
        client.ask(origin.url(), version="1.0")
        client.response()
        client.close()
    assert find(subject, "http10_no_keepalive", "downstream", count=3)["count"] == 3
    assert "keepalives_disabled" not in kinds(subject, "downstream")


def test_small_tunnels_again_and_again(daemon, serve):
    def script(conn):
        conn.read_exactly(4)
        conn.send(b"pong")
    subject, origin = daemon(), serve(script)
    for _ in range(12):
        client = subject.client()
        client.send(f"CONNECT {origin.authority} HTTP/1.1\r\nHost: {origin.authority}\r\n\r\n")
        client.read_head()
        client.send("ping")
        client.read_exactly(4)
        client.close()
    found = find(subject, "tunnel_churn", "downstream", count=10)
    assert found["evidence"]["mean_bytes"] < 1000


def test_a_body_given_up_is_found_on_both_sides_with_the_ledgers_numbers(daemon, serve):
    def script(conn):
        conn.read_request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 60000)
        conn.wait_read()
    subject, origin = daemon(), serve(script)
    tag = "Proxy-Authorization: Basic " + base64.b64encode(b"checkout:").decode()
    client = subject.client()
    client.ask(origin.url(), fields=("User-Agent: Go-http-client/1.1", tag))
    until(lambda: subject.get("/connections?side=downstream")["connections"][0]["bytes_out"] > 60000, "all of it has gone out")
    client.close()  # with all of it unread: a RST
    down = find(subject, "early_body_close", "downstream")
    row, = subject.get("/connections?side=downstream")["connections"]
    assert down["subject"]["client"]["tag"] == "checkout" and down["subject"]["client"]["stack"] == "go"
    assert down["confidence"] == "confirmed" and down["connections"] == [row["id"]]
    evidence = down["evidence"]
    assert evidence["received_bytes"] == row["bytes_out"] and evidence["unread_if_read_4096"] == row["bytes_out"] - 4096
    assert evidence["requests"] == 1 and evidence["proven"] == 1 and evidence["wasteful"] == 1
    assert find(subject, "rst_unread_data", "downstream")["count"] == 1
    up = find(subject, "early_body_close")
    assert up["observer_effect"] and up["evidence"]["received_bytes"] >= 60000 and up["by_status"] == {"2xx": 1}


def test_what_is_refused_here_is_no_fault_of_the_origin(daemon):
    subject = daemon(settings={"access.deny_destinations": "127.0.0.9"})
    assert ask(subject, "http://127.0.0.9:1/") == [403]
    assert ask(subject, "http://%s:%d/" % subject.address) == [508]
    assert subject.get("/findings")["findings"] == []


def test_requests_that_ask_for_close(daemon, serve):
    subject, origin = daemon(), serve(always(answer(b"ok")))
    for _ in range(3):
        ask(subject, origin.url(), fields=("Connection: close",))
    assert find(subject, "keepalives_disabled", "downstream", count=3)["count"] == 3
    assert kinds(subject) == set()  # upstream the daemon keeps what it can


def test_a_program_that_ends_while_it_holds_two(daemon, serve):
    """Two held connections may be chance while it runs; that its kernel resets them at its end is none."""
    subject, origin = daemon(settings={"findings.leak_after": "300ms", "probe.sockets": "off"}), serve(always(answer(b"x" * 70_000)))

    def idle():
        return [c["idle_ms"] for c in subject.get("/connections?side=downstream&state=idle")["connections"]]
    clients = []
    for n in range(3):
        client = socket.create_connection(subject.address)
        client.sendall(f"GET {origin.url()} HTTP/1.1\r\nHost: {origin.authority}\r\nUser-Agent: Go-http-client/1.1\r\n\r\n".encode())
        clients.append(client)
        until(lambda: len(idle()) == n + 1, "the whole response is delivered")
        time.sleep(0.02)  # a new one sooner than this may have been on its way before
    until(lambda: sum(ms > 1000 for ms in idle()) >= 2, "two are held for longer than findings.leak_after")
    assert not [f for f in subject.get("/findings")["findings"] if f["side"] == "downstream"]
    for client in clients:
        client.close()
    found = find(subject, "body_not_closed", side="downstream", count=2)
    assert found["count"] >= 2 and found["connections"]


def test_an_answer_that_met_its_leaving_client_is_no_body_given_up(daemon, serve):
    asked, answer_it, answered = threading.Event(), threading.Event(), threading.Event()

    def script(conn):
        conn.read_request()
        asked.set()
        answer_it.wait()
        conn.send(answer(b"x" * 300))
        answered.set()
        conn.wait_read()
    subject, origin = daemon(), serve(script)
    client = subject.client()
    client.ask(origin.url())
    asked.wait()
    subject.signal(signal.SIGSTOP)  # so that both wait for it, the answer first
    answer_it.set()
    answered.wait()
    client.close()
    subject.signal(signal.SIGCONT)
    assert find(subject, "request_timeout", "downstream")["count"] == 1
    assert kinds(subject, "downstream") == {"request_timeout"}
    row, = subject.get("/connections?side=downstream")["connections"]
    assert row["early_closes"] == 0 and row["close"]["phase"] == "in_request"


def test_an_answer_that_was_delivered_and_not_read_was_delivered(daemon, serve):
    subject, origin = daemon(), serve(always(answer(b"x" * 30000)))
    client = subject.client()
    client.ask(origin.url(), fields=("User-Agent: Go-http-client/1.1",))
    until(lambda: subject.get("/connections?side=downstream")["connections"][0]["state"] == "idle", "all of it has gone out")
    until(lambda: sockets.row(subject.address[1], client.sock.getsockname()[1])[1] == 0, "all of it is acknowledged")
    client.close()  # a RST
    found = find(subject, "early_body_close", "downstream")
    row, = subject.get("/connections?side=downstream")["connections"]
    assert found["confidence"] == "likely" and found["evidence"]["by_rst"] == 1
    assert found["evidence"]["received_bytes"] == row["bytes_out"] and row["early_closes"] == 0


def test_a_reset_before_the_acknowledgement_is_an_early_close_and_no_body_cut(daemon, serve):
    """Our kernel does not hear what the RST acknowledges. The ledger says what packets show as a rule, the finding no more than
    that the answer left whole."""
    subject, origin = daemon(), serve(always(answer(b"x" * 300)))

    def unacknowledged():
        return [c for c in subject.get("/connections?side=downstream&state=closed")["connections"] if c["early_closes"]]
    tries = 0
    while not unacknowledged() and tries < 50:  # its kernel acknowledges by itself, but some do it later
        tries += 1
        client = subject.client()
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        client.ask(origin.url(), fields=("User-Agent: Go-http-client/1.1",))
        select.select([client.sock], [], [])
        client.close()
        until(lambda: len(subject.get("/connections?side=downstream&state=closed")["connections"]) == tries, "its end is told")
    row = unacknowledged()[0]
    assert (row["early_closes"], row["close"]["phase"], row["rst_received"]) == (1, "in_body", True)
    found = find(subject, "early_body_close", "downstream", count=tries)
    assert found["confidence"] == "likely" and found["evidence"]["received_bytes"] == row["bytes_out"]
