"""Captures as lists of packets, and lists of packets as captures: pcap and pcapng in every shape that they come in."""

import gzip
import itertools
import struct

EN10MB, RAW = 1, 101
SECOND = 10**9


class Packet:
    """at: nanoseconds since 1970; data: what was captured; length: on the wire."""
    __slots__ = ("at", "data", "length", "link")

    def __init__(self, at, data, length, link):
        self.at, self.data, self.length, self.link = at, data, length, link

    def moved(self, ns):
        return Packet(self.at + ns, self.data, self.length, self.link)


def load(path):
    with open(path, "rb") as file:
        data = file.read()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    return read_pcapng(data) if data[:4] == b"\n\r\r\n" else read_pcap(data)


def read_pcap(data):
    """The whole packets of a pcap file; a cut last one is left out."""
    magic = data[:4]
    order = "<" if magic in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    unit = 1 if magic in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1000
    link, at, packets = struct.unpack_from(order + "I", data, 20)[0] & 0xffff, 24, []
    while at + 16 <= len(data):
        s, fraction, size, length = struct.unpack_from(order + "IIII", data, at)
        if at + 16 + size > len(data):
            break
        packets.append(Packet(s * SECOND + fraction * unit, data[at + 16:at + 16 + size], length, link))
        at += 16 + size
    return packets


def read_pcapng(data):
    """Of the captures that are in the tree: little endian, one section, resolutions in powers of ten."""
    at, interfaces, packets = 0, [], []
    while at + 12 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        body = data[at + 8:at + size - 4]
        if kind == 1:
            digits, option = 6, 8
            while option + 4 <= len(body):
                code, n = struct.unpack_from("<HH", body, option)
                if code == 9:
                    digits = body[option + 4]
                option += 4 + (n + 3) // 4 * 4
            interfaces.append((struct.unpack_from("<H", body)[0], SECOND // 10**digits))
        elif kind == 6:
            i, high, low, captured, length = struct.unpack_from("<IIIII", body)
            link, unit = interfaces[i]
            packets.append(Packet((high << 32 | low) * unit, body[20:20 + captured], length, link))
        at += size
    return packets


def pcap(packets, order="<", nano=True, link=None):
    """The bytes of a pcap file."""
    out = [struct.pack(order + "IHHIIII", 0xa1b23c4d if nano else 0xa1b2c3d4, 2, 4, 0, 0, 262144,
                       packets[0].link if link is None else link)]
    for p in packets:
        out.append(struct.pack(order + "IIII", p.at // SECOND, p.at % SECOND // (1 if nano else 1000), len(p.data), p.length))
        out.append(p.data)
    return b"".join(out)


def block(order, kind, body):
    body += b"\0" * (-len(body) % 4)
    size = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + size + body + size


def options(order, *pairs):
    out = b"".join(struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4) for code, value in pairs)
    return out + bytes(4)


class Interface:
    """A pcapng interface's clock: ticks a second, how that is written, and what its zero is in seconds."""

    def __init__(self, resolution, offset=0):
        self.resolution, self.offset = resolution, offset
        self.units = 1 << (resolution & 0x7f) if resolution & 0x80 else 10**resolution

    def description(self, order, link):
        return block(order, 1, struct.pack(order + "HHI", link, 0, 0) + options(
            order, (9, bytes([self.resolution])), (14, struct.pack(order + "q", self.offset))))

    def ticks(self, ns):
        return -((self.offset * SECOND - ns) * self.units // SECOND)  # rounded up: read back, it is the same nanosecond


def without_ethernet(p):
    """The same packet as raw IP, where it is plain Ethernet with IP in it."""
    if p.link == EN10MB and p.data[12:14] in (b"\x08\x00", b"\x86\xdd"):
        return Packet(p.at, p.data[14:], p.length - 14, RAW)
    return p


def pcapng(packets, sections=3, clocks=None, pad_to=0, dropped=None):
    """The bytes of a pcapng file: sections in turns of byte order, each with an interface for every clock and link type,
    packets on each in turn, and blocks of no interest in between. `pad_to`: at least so long."""
    base = packets[0].at // SECOND - 1
    clocks = clocks or [Interface(6), Interface(9), Interface(12, base), Interface(0x80 | 40, base), Interface(7)]
    clocks = [c for c in clocks if all(c.ticks(p.at) * SECOND // c.units + c.offset * SECOND == p.at for p in packets)]
    out, share = [], -(-len(packets) // sections)
    for n, order in zip(range(sections), itertools.cycle("<>")):
        out.append(block(order, 0x0a0d0d0a, struct.pack(order + "IHHq", 0x1a2b3c4d, 1, 0, -1)))
        ours = [without_ethernet(p) if i % 3 == 2 else p for i, p in enumerate(packets[n * share:(n + 1) * share])]
        links = sorted({p.link for p in ours})
        out += [c.description(order, link) for link in links for c in clocks]
        out.append(block(order, 4, struct.pack(order + "HH", 1, 9) + b"\x7f\0\0\1host\0\0\0\0" + bytes(4)))
        out.append(block(order, 0x40000bad, b"custom" * 7))
        for i, p in enumerate(ours):
            which = i % len(clocks)
            ticks = clocks[which].ticks(p.at)
            body = struct.pack(order + "IIIII", links.index(p.link) * len(clocks) + which, ticks >> 32, ticks & 0xffffffff,
                               len(p.data), p.length) + p.data + b"\0" * (-len(p.data) % 4)
            out.append(block(order, 6, body + (options(order, (1, b"a comment")) if i % 5 == 0 else b"")))
    if dropped is not None:
        out.append(block(order, 5, struct.pack(order + "III", 0, 0, 0) + options(
            order, (4, struct.pack(order + "Q", 10**6)), (5, struct.pack(order + "Q", dropped)))))
    size = sum(map(len, out))
    while size < pad_to:
        out.append(block(order, 0x40000bad, b"x" * min(60_000, pad_to - size)))
        size += len(out[-1])
    return b"".join(out)


def of_other_hosts(p, n):
    """The same packet between other addresses, n of 1 to 255 apart."""
    data, at = bytearray(p.data), 14 if p.link == EN10MB else 0
    while p.link == EN10MB and data[at - 2:at] == b"\x81\x00":
        at += 4
    first, size = (at + 12, 4) if data[at] >> 4 == 4 else (at + 8, 16)
    for address in (first, first + size):
        if address + 1 < len(data):
            data[address + 1] ^= n
    return Packet(p.at, bytes(data), p.length, p.link)


def of_no_interest(like, size):
    """Packets that are neither TCP nor IP, of the same time: so many bytes of them."""
    return [Packet(like.at, bytes(4000), 4000, like.link)] * (size // 4016 + 1)
