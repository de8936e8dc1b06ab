#include "capture/live.h"

#include <pcap/pcap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES (32 << 20) /* of the kernel, per interface: a burst of a tenth of a second at 2.5 Gbit/s */
#define WAIT_MS      100

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

static bool set_up(struct live *l, uint32_t snaplen, const char *filter, char *error) {
    char why[PCAP_ERRBUF_SIZE] = "";
    struct bpf_program program;
    int rc;

    pcap_set_snaplen(l->pcap, (int)snaplen);
    pcap_set_promisc(l->pcap, 0);
    pcap_set_timeout(l->pcap, WAIT_MS);
    pcap_set_buffer_size(l->pcap, BUFFER_BYTES);
    if (pcap_set_tstamp_precision(l->pcap, PCAP_TSTAMP_PRECISION_NANO) == 0) l->fraction_ns = 1;
    rc = pcap_activate(l->pcap);
    if (rc < 0) {
        snprintf(error, CAPTURE_TEXT, "%s: %s%s%s", l->interface, pcap_statustostr(rc),
                 *pcap_geterr(l->pcap) ? ": " : "", pcap_geterr(l->pcap));
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
    if (!filter) return true;
    if (pcap_compile(l->pcap, &program, filter, 1, PCAP_NETMASK_UNKNOWN) < 0) {
        snprintf(error, CAPTURE_TEXT, "capture filter \"%s\": %s", filter, pcap_geterr(l->pcap));
        return false;
    }
    rc = pcap_setfilter(l->pcap, &program);
    pcap_freecode(&program);
    if (rc < 0) snprintf(error, CAPTURE_TEXT, "capture filter \"%s\": %s", filter, pcap_geterr(l->pcap));
    return rc >= 0;
}

struct live *live_open(const char *interface, const char *filter, uint32_t snaplen, char error[CAPTURE_TEXT]) {
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
    if (set_up(l, snaplen, filter, error)) return l;
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

void live_stop(struct live *l) {
    pcap_breakloop(l->pcap);
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
