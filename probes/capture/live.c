#include "capture/live.h"

#include <pcap/pcap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES  (32 << 20) /* of the kernel, per interface: a burst of a tenth of a second at 2.5 Gbit/s */
#define WAIT_MS       100
#define WHOLE_PACKETS 262144
#define FILTER_ROOM   512

struct live {
    pcap_t *pcap;
    char *interface;
    int64_t fraction_ns;
    uint64_t packets, bytes;
    int64_t first_ns, last_ns;
    int32_t link_type;
    char fault[CAPTURE_TEXT];
};

/* libpcap's own numbers to those of files: the same but for a few old ones. */
static int32_t link_type_of(int dlt) {
    if (dlt == DLT_RAW) return 101;
    return dlt;
}

/* "80,8000-8010" as "tcp and (port 80 or portrange 8000-8010)"; false: they are no ports. */
static bool ports_filter(const char *ports, char *out, size_t room) {
    size_t len = (size_t)snprintf(out, room, "tcp and (");

    for (const char *p = ports; len < room; p++) {
        char *end;
        unsigned long from = strtoul(p, &end, 10), to = from;

        if (*p < '0' || *p > '9') return false;
        if (*end == '-') {
            p = end + 1;
            to = strtoul(p, &end, 10);
            if (*p < '0' || *p > '9') return false;
        }
        if (from < 1 || to > 65535 || from > to || (*end && *end != ',')) return false;
        len += (size_t)snprintf(out + len, room - len, "portrange %lu-%lu%s", from, to, *end ? " or " : ")");
        p = end;
        if (!*p) return len < room;
    }
    return false;
}

/* Behind a VLAN tag too, where the link layer has such. */
static int compile_tagged(struct live *l, struct bpf_program *program, const char *filter) {
    char both[2 * FILTER_ROOM + 32];

    snprintf(both, sizeof both, "(%s) or (vlan and (%s))", filter, filter);
    return pcap_compile(l->pcap, program, both, 1, PCAP_NETMASK_UNKNOWN);
}

static bool set_filter(struct live *l, const char *ports, const char *filter, char *error) {
    char ours[FILTER_ROOM] = "tcp";
    struct bpf_program program;
    int rc = -1;

    if (!filter) {
        if (ports && !ports_filter(ports, ours, sizeof ours)) {
            snprintf(error, CAPTURE_TEXT, "ports: expected some such as 80,443,8000-8010, found \"%.100s\"", ports);
            return false;
        }
        rc = compile_tagged(l, &program, ours);
        filter = ours;
    }
    if (rc < 0) rc = pcap_compile(l->pcap, &program, filter, 1, PCAP_NETMASK_UNKNOWN);
    if (rc == 0) {
        rc = pcap_setfilter(l->pcap, &program);
        pcap_freecode(&program);
    }
    if (rc < 0) snprintf(error, CAPTURE_TEXT, "capture filter \"%.100s\": %.100s", filter, pcap_geterr(l->pcap));
    return rc >= 0;
}

static bool set_up(struct live *l, char *error) {
    char why[PCAP_ERRBUF_SIZE] = "";
    int rc;

    pcap_set_snaplen(l->pcap, WHOLE_PACKETS);
    pcap_set_promisc(l->pcap, 0);
    pcap_set_timeout(l->pcap, WAIT_MS);
    pcap_set_buffer_size(l->pcap, BUFFER_BYTES);
    if (pcap_set_tstamp_precision(l->pcap, PCAP_TSTAMP_PRECISION_NANO) == 0) l->fraction_ns = 1;
    rc = pcap_activate(l->pcap);
    if (rc < 0) {
        const char *what = pcap_statustostr(rc), *more = pcap_geterr(l->pcap);
        bool says_more = *more && strcmp(what, more);
        snprintf(error, CAPTURE_TEXT, "%s: %s%s%s", l->interface, what, says_more ? ": " : "", says_more ? more : "");
        return false;
    }
    l->link_type = link_type_of(pcap_datalink(l->pcap));
    if (!link_type_name(l->link_type)) {
        snprintf(error, CAPTURE_TEXT, "%s: link type %d (%s), which cannot be read", l->interface, l->link_type,
                 pcap_datalink_val_to_name(l->link_type) ? pcap_datalink_val_to_name(l->link_type) : "no name");
        return false;
    }
    /* Blocking, libpcap may wait for a first packet for ever, signals or not. */
    if (pcap_setnonblock(l->pcap, 1, why) < 0) {
        snprintf(error, CAPTURE_TEXT, "%s: %.200s", l->interface, why);
        return false;
    }
    return true;
}

struct live *live_open(const char *interface, const char *ports, const char *filter, char error[CAPTURE_TEXT]) {
    struct live *l = calloc(1, sizeof *l);
    char why[PCAP_ERRBUF_SIZE] = "";

    if (!l || !(l->interface = strdup(interface))) {
        snprintf(error, CAPTURE_TEXT, "%s: no memory", interface);
        goto fail;
    }
    l->fraction_ns = 1000;
    l->pcap = pcap_create(interface, why);
    if (!l->pcap) {
        snprintf(error, CAPTURE_TEXT, "%s: %.200s", interface, why);
        goto fail;
    }
    if (set_up(l, error) && set_filter(l, ports, filter, error)) return l;
fail:
    live_close(&l);
    return NULL;
}

void live_close(struct live **lp) {
    struct live *l = *lp;

    if (!l) return;
    if (l->pcap) pcap_close(l->pcap);
    free(l->interface);
    free(l);
    *lp = NULL;
}

enum capture_step live_next(struct live *l, struct capture_packet *out) {
    struct pcap_pkthdr *h;
    const u_char *data;
    int rc;

    if (l->fault[0]) return CAPTURE_END;
    rc = pcap_next_ex(l->pcap, &h, &data);
    if (rc == 0) {
        struct pollfd ready = {.fd = pcap_get_selectable_fd(l->pcap), .events = POLLIN};

        if (poll(&ready, 1, WAIT_MS) > 0) rc = pcap_next_ex(l->pcap, &h, &data);
    }
    if (rc == 0) return CAPTURE_WAIT;
    if (rc == PCAP_ERROR_BREAK) return CAPTURE_END;
    if (rc < 0) {
        snprintf(l->fault, sizeof l->fault, "after packet %llu: %s", (unsigned long long)l->packets,
                 pcap_geterr(l->pcap));
        return CAPTURE_FAULT;
    }
    out->at_ns = (int64_t)h->ts.tv_sec * 1000000000 + (int64_t)h->ts.tv_usec * l->fraction_ns;
    out->captured = h->caplen;
    out->len = h->len < h->caplen ? h->caplen : h->len;
    out->data = data;
    out->link_type = l->link_type;
    l->packets++;
    l->bytes += h->len;
    if (l->packets == 1) l->first_ns = out->at_ns;
    l->last_ns = out->at_ns;
    return CAPTURE_PACKET;
}

void live_source(const struct live *l, struct capture_source *out) {
    struct pcap_stat st;

    out->path = l->interface;
    out->packets = l->packets;
    out->bytes = l->bytes;
    out->first_ns = l->first_ns;
    out->last_ns = l->last_ns;
    out->link_type = l->link_type;
    memcpy(out->fault, l->fault, sizeof out->fault);
    if (pcap_stats(l->pcap, &st) == 0) {
        out->dropped = (uint64_t)st.ps_drop + st.ps_ifdrop;
        out->dropped_known = true;
    }
}
