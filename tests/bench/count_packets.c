/* The floor that analyze is measured against: a loop that only counts packets, with libpcap. */
#include <pcap/pcap.h>
#include <stdio.h>

int main(int argc, char **argv) {
    char why[PCAP_ERRBUF_SIZE];
    pcap_t *p = argc == 2 ? pcap_open_offline(argv[1], why) : NULL;
    struct pcap_pkthdr *h;
    const u_char *data;
    unsigned long long n = 0, bytes = 0;

    if (!p) return 2;
    while (pcap_next_ex(p, &h, &data) == 1) n++, bytes += h->caplen;
    printf("%llu packets, %llu bytes\n", n, bytes);
    pcap_close(p);
    return 0;
}
