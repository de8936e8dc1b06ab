"""The daemon's ledger against what its origins saw: the same connections, requests and ends."""

from .wait import until

LOCAL_FIN, LOCAL_RST, REMOTE_FIN, REMOTE_RST = ("local", "fin"), ("local", "rst"), ("remote", "fin"), ("remote", "rst")
ENDS = {   # what an origin saw: how the ledger may tell it
    "F": [LOCAL_FIN], "F>R": [LOCAL_FIN], "S": [REMOTE_FIN], "X": [REMOTE_RST],
    # An origin that is sending meets the RST for its later bytes before it has seen the FIN.
    "R": [LOCAL_RST, LOCAL_FIN],
    "SR": [REMOTE_FIN, LOCAL_RST],     # the origin's FIN, seen or still behind bytes that were never read
}


def faults(rows, origin):
    """What does not agree, as text, a line each. `rows` are the daemon's upstream records by local port."""
    out = []
    for conn in list(origin.conns):
        row = rows.get(conn.peer_port)
        if row is None:
            out.append(f"{conn.shape()}: not in the ledger")
            continue
        said = f"{conn.shape()}: {row['requests']} requests, {row['state']}, {row['close']}, unread {row['unread_bytes']}"
        if not row["opaque"] and row["requests"] != len(conn.requests):
            out.append(said)
        elif conn.letter() in "-s":
            # An end that the origin made and that nobody has answered is for the ledger no end either.
            if row["state"] == "closed":
                out.append(said)
        elif row["state"] != "closed" or (row["close"]["by"], row["close"]["how"]) not in ENDS.get(conn.letter(), []):
            out.append(said)
        elif row["rst_sent"] != (row["unread_bytes"] > 0) and not row["opaque"]:
            out.append(said + f", rst_sent {row['rst_sent']}")
        elif row["rst_received"] != (conn.letter() == "X"):
            out.append(said + f", rst_received {row['rst_received']}")
    return out


def balance(proxy, origins):
    """Wait until ledger and origins agree; fail with what does not."""
    def look():
        rows = {int(r["local"].rsplit(":", 1)[1]): r for r in proxy.ledger() if r["side"] == "upstream" and r["local"]}
        return [fault for origin in origins for fault in faults(rows, origin)]
    until(lambda: not look(), lambda: "the ledger and the origin disagree:\n" + "\n".join(look()), pause=0.01)
