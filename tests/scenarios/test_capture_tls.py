"""What a capture shows of TLS: real handshakes on loopback, beside what both ends say of them."""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from test_capture_input import Watch, live
from test_captures import ROOT

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here")


@pytest.fixture(scope="module")
def cert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cert")
    names = str(folder / "key.pem"), str(folder / "cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", names[0], "-out", names[1], "-days", "30",
                    "-subj", "/CN=origin.test", "-addext", "subjectAltName=DNS:origin.test"], check=True, capture_output=True)
    return names


class Server:
    """Answers one connection; then ends it as told: with close_notify, with a bare FIN, or when the client does."""

    def __init__(self, cert, version, ciphers, end):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert[1], cert[0])
        self.context.minimum_version = self.context.maximum_version = version
        if ciphers:
            self.context.set_ciphers(ciphers)
        self.context.set_alpn_protocols(["http/1.1"])
        self.end = end
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        raw, _ = self.listener.accept()
        with raw:
            try:
                conn = self.context.wrap_socket(raw, server_side=True)
            except OSError:
                return
            conn.recv(4096)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)
            if self.end == "notify":
                try:
                    conn.settimeout(60)
                    conn.unwrap()
                except OSError:
                    pass
            elif self.end == "client":
                conn.recv(4096)
            # A bare FIN: the socket goes, and TLS says nothing.
            fd = conn.detach()
            socket.close(fd)

    def stop(self):
        self.thread.join(60)
        self.listener.close()


def ask(port, cert, trusts=True):
    """A client's request; (version, cipher) that it got."""
    context = ssl.create_default_context(cafile=cert[1] if trusts else None)
    with socket.create_connection(("127.0.0.1", port), 60) as raw:
        context.set_alpn_protocols(["http/1.1"])
        with context.wrap_socket(raw, server_hostname="origin.test", suppress_ragged_eofs=True) as conn:
            conn.sendall(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
            got = 0
            while got < 5000:
                got += len(conn.recv(65536))
            said = conn.version(), conn.cipher()[0]
            assert conn.recv(1) == b""
            return said


@live
@needs_openssl
@pytest.mark.parametrize("end", ["notify", "bare"])
@pytest.mark.parametrize("version, ciphers", [
    (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-GCM-SHA256"), (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-CHACHA20-POLY1305"),
    (ssl.TLSVersion.TLSv1_2, "AES256-SHA256"), (ssl.TLSVersion.TLSv1_3, None)])
def test_version_cipher_and_close_notify_are_as_the_ends_say(cert, version, ciphers, end):
    server = Server(cert, version, ciphers, end)
    watch = Watch("--jsonl", "--port", str(server.port))
    said = ask(server.port, cert)
    server.stop()
    code, out, err = watch.end(signal.SIGINT)
    assert code == 0, err
    record = json.loads(out)
    notify = None if version == ssl.TLSVersion.TLSv1_3 else end == "notify"
    assert record["tls"] == {"version": said[0], "cipher": said[1], "close_notify": notify}
    tls = record["evidence"]["tls"]
    assert (tls["sni"], tls["alpn_offered"]) == ("origin.test", "http/1.1")
    assert tls["alpn"] == (None if version == ssl.TLSVersion.TLSv1_3 else "http/1.1")
    assert record["requests"] is None and record["close"]["how"] == "fin"


@live
@needs_openssl
def test_a_client_that_does_not_trust_the_certificate_says_so_in_clear(cert):
    server = Server(cert, ssl.TLSVersion.TLSv1_2, None, "bare")
    watch = Watch("--jsonl", "--port", str(server.port))
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(server.port, cert, trusts=False)
    server.stop()
    code, out, err = watch.end(signal.SIGINT)
    assert code == 0, err
    tls = json.loads(out)["evidence"]["tls"]
    assert tls["last_record_out"] == "error" and tls["error_out"] == 48, tls  # unknown_ca


@needs_openssl
def test_every_cipher_has_the_number_that_openssl_gives_its_name():
    """One that OpenSSL was built without is passed over: old ones are, by now."""
    with open(os.path.join(ROOT, "daemon/core/tbl/tls_ciphers.h"), encoding="utf-8") as table:
        ours = dict((name, int(number, 16)) for number, name in re.findall(r'^X\((\w+), "(.+)"\)', table.read(), re.M))
    listed = subprocess.run(["openssl", "ciphers", "-V", "ALL:COMPLEMENTOFALL"], capture_output=True, text=True, check=True).stdout
    theirs = {}
    for line in listed.splitlines():
        words = line.split()
        high, low = words[0].split(",")
        theirs[words[2]] = int(high, 16) << 8 | int(low, 16)
    assert len(ours) > 50 and len(set(ours.values())) == len(ours)
    assert {name: theirs[name] for name in ours if name in theirs} == {name: ours[name] for name in ours if name in theirs}
    common = {name for name in theirs if re.match(r"(TLS_|ECDHE-RSA-|ECDHE-ECDSA-|DHE-RSA-)?(AES|CHACHA20)", name)}
    assert len(common) > 20 and not common - ours.keys()
