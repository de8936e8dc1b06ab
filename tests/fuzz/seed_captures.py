#!/usr/bin/env python3
"""Makes the corpora of the capture fuzz targets from captures: seed_captures.py DIR

link: one packet of each size class and link type; capture: the beginnings of files;
http_stream and tls_hello: what the two ends of a connection said, in turns; replay: the same
of up to four connections, with their ends."""
import pathlib
import struct
import sys

TOP = pathlib.Path(__file__).resolve().parent / "corpus"
LIMIT = 3500


def records(data):
    at = 24
    while at + 16 <= len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        if at + 16 + size > len(data):
            return
        yield data[at + 16:at + 16 + size]
        at += 16 + size


def tcp_payload(link, packet):
    """(source, payload) of an IPv4 packet on Ethernet, or None."""
    if link != 1 or packet[12:14] != b"\x08\x00" or packet[23] != 6:
        return None
    header = 14 + (packet[14] & 15) * 4
    end = 14 + struct.unpack_from(">H", packet, 16)[0]
    data = header + (packet[header + 12] >> 4) * 4
    return packet[26:30] + packet[header:header + 2], packet[header + 2:header + 4], packet[data:end]


def conversations(link, packets):
    """What up to four connections said, as f_replay reads it: three bytes, then data."""
    conns, out = {}, b""
    for packet in packets:
        got = tcp_payload(link, packet)
        if not got:
            continue
        source, target, payload = got[0][4:], got[1], got[2]
        flags = packet[14 + (packet[14] & 15) * 4 + 13]
        key = tuple(sorted((source, target)))
        if key not in conns and (len(conns) == 4 or not flags & 2):
            continue
        number, client = conns.setdefault(key, (len(conns), source))
        what = number << 5 | (0x80 if source != client else 0)
        piece, rest = payload[:600], len(payload[600:])
        if piece:
            out += struct.pack(">BH", what | 1, len(piece)) + piece
        if rest:
            out += struct.pack(">BH", what | 0x10, rest)
        if flags & 5:
            out += struct.pack(">BH", what | 0x08 | (0 if flags & 1 else 2), 0)
        if len(out) > LIMIT:
            break
    return out


def put(kind, name, data):
    folder = TOP / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def main(folder):
    for path in sorted(pathlib.Path(folder).glob("*.pcap*")):
        data = path.read_bytes()
        put("capture", path.name, data[:2000])
        if data[:4] != b"\xd4\xc3\xb2\xa1":
            continue
        link = struct.unpack_from("<I", data, 20)[0]
        packets = list(records(data))
        for i, packet in enumerate(packets[:5]):
            if len(packet) < 600 and (link != 1 or path.name.startswith(("early-go-cl3k", "vlan", "304"))):
                put("link", f"{path.stem}-{i}", struct.pack(">HH", link, 0) + packet)
        if conversations(link, packets):
            put("replay", path.stem, conversations(link, packets))
        streams, order = {}, []
        for packet in packets:
            got = tcp_payload(link, packet)
            if got and got[2]:
                key = tuple(sorted((got[0][4:], got[1])))
                streams.setdefault(key, []).append((got[0][4:], got[2]))
                if key not in order:
                    order.append(key)
        if not order:
            continue
        talk, client = streams[order[0]], streams[order[0]][0][0]
        if talk[0][1][:1] == b"\x16":
            one = b"".join(p for who, p in talk if who == client)[:1000]
            other = b"".join(p for who, p in talk if who != client)[:LIMIT - len(one)]
            put("tls_hello", path.stem, struct.pack(">H", len(one)) + one + other)
        else:
            out = b""
            for who, payload in talk:
                piece = payload[:900]
                out += struct.pack(">H", len(piece) | (0x8000 if who != client else 0)) + piece
            put("http_stream", path.stem, out[:LIMIT])
    handshake = bytes([2, 0, 0, 0, 0, 0, 0, 0, 0x92, 0, 0, 0, 0, 0, 0, 0, 0x10, 4, 0, 0, 0, 28, 0, 0, 0x90, 4, 0, 0, 0, 139, 0, 0])
    put("reassembly", "in-order", handshake + bytes([0x11, 4, 0, 0, 0, 0, 0, 0, 0x91, 4, 0, 0, 0, 0, 0, 1]))
    put("reassembly", "hole", handshake + bytes([0x90, 4, 0, 50, 0, 139, 0, 0, 0x10, 4, 0, 28, 0, 0, 0, 0] * 20))
    put("reassembly", "overlap-reset", handshake + bytes([0xd0, 4, 0xff, 0xf0, 0, 139, 0, 0, 0x14, 4, 0, 0, 0, 0, 0, 0]))


if __name__ == "__main__":
    main(sys.argv[1])
