/* connleak analyze: captures in, one record a connection out. */
#include "capture/analyze.h"
#include "capture/evidence_json.h"
#include "capture/facts.h"
#include "capture/filter.h"
#include "capture/workload.h"
#include "commands.h"
#include "core/duration.h"
#include "core/fail_on.h"
#include "record/conn_json.h"
#include "record/finding_json.h"
#include "record/workload_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct analysis {
    enum output output;
    const char *interface, *ports, *capture_filter;
    struct live_until until;
    const char **files;
    size_t n_files;
    struct capture *capture;
    struct wire *wire;
    struct feed_counts counts;
    struct totals totals;
    struct out out;
    struct table *table;
    struct conn_json how;
    struct filter *filter;
    struct findings *findings; /* NULL: nobody asked */
    const char *export_to;     /* NULL: the same */
    FILE *export;
    struct workload_builder *workload;
    int64_t ticked_ns;
    struct spool rows; /* of the table, until the findings above them are known */
    struct fail_on fail_on;
    struct progress progress;
    bool exchanges, faulty, color;
};

static volatile sig_atomic_t stopped;

static void help(void) {
    const char *name, *text;

    fputs("Usage: connleak analyze [OPTION]... FILE...\n"
          "       connleak analyze [OPTION]... --interface IF\n"
          "\n"
          "Says of each TCP connection how it was used and how it ended. FILE is pcap or\n"
          "pcapng, gzip or not; several are read in order of time; - is stdin.\n"
          "\n"
          "  --table            findings, a row a connection, totals by server (default)\n"
          "  --json, --jsonl    one object (connleak.analysis/1); the records, a line each\n"
          "  --tshark           an expression for tshark -Y, a line each\n"
          "  --filter EXPR      only these connections: 'rst_sent and requests > 1'\n"
          "  --fail-on KIND,... exit 99 if there is such a finding; any: warning or worse\n"
          "  --export-workload F  requests without names and contents, for whatif, replay\n"
          "  --exchanges        with evidence.exchanges: the first requests and the newest\n"
          "  --interface IF     capture live, until Ctrl-C; \"any\" is all interfaces\n"
          "  --duration D       or for so long: 90s, 5m\n"
          "  --port P,...       of that, only these TCP ports: 8080,9000-9010\n"
          "  --capture-filter E or what this says, as in pcap-filter(7)\n"
          "\n"
          "EXPR joins comparisons (= != < <= > >= ~) by and, or, not and ( ). Its fields:\n",
          stdout);
    for (size_t i = 0, column = 0; (name = filter_field(i, &text)); i++) {
        if (column + strlen(name) + 3 > 80) column = 0;
        column += (size_t)printf("%s%s", i == 0 ? "  " : column ? ", " : ",\n  ", name);
    }
    fputs("\n", stdout);
}

static int usage(const char *fmt, const char *what) {
    fputs("connleak analyze: ", stderr);
    fprintf(stderr, fmt, what);
    fputs("; connleak analyze --help says more\n", stderr);
    return EXIT_USAGE;
}

static int check(const struct analysis *a) {
    if (!a->interface && a->n_files == 0) return usage("%s", "a FILE or --interface is needed");
    if (a->interface && a->n_files) return usage("either files or --interface %s, not both", a->interface);
    if (a->interface && a->ports && a->capture_filter)
        return usage("%s", "either --port or --capture-filter, not both");
    if (!a->interface && (a->ports || a->capture_filter || a->until.duration_ns))
        return usage("%s is for --interface alone", a->ports            ? "--port"
                                                    : a->capture_filter ? "--capture-filter"
                                                                        : "--duration");
    return -1;
}

/* -1: go on. */
static int parse(struct analysis *a, int argc, char **argv) {
    bool options = true;

    a->files = calloc((size_t)argc, sizeof *a->files);
    if (!a->files) abort();
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (!options || arg[0] != '-' || !strcmp(arg, "-"))
            a->files[a->n_files++] = arg;
        else if (!strcmp(arg, "--"))
            options = false;
        else if (!strcmp(arg, "--table"))
            a->output = OUTPUT_TABLE;
        else if (!strcmp(arg, "--json"))
            a->output = OUTPUT_JSON;
        else if (!strcmp(arg, "--jsonl"))
            a->output = OUTPUT_JSONL;
        else if (!strcmp(arg, "--tshark"))
            a->output = OUTPUT_TSHARK;
        else if (!strcmp(arg, "--filter")) {
            char error[FILTER_TEXT];
            if (++i == argc) return usage("%s needs an expression", arg);
            filter_free(&a->filter);
            a->filter = filter_new(argv[i], error);
            if (!a->filter) return usage("%s", error);
        } else if (!strcmp(arg, "--exchanges"))
            a->exchanges = true;
        else if (!strcmp(arg, "--fail-on")) {
            if (++i == argc || !fail_on_parse(&a->fail_on, argv[i]))
                return usage("%s needs any, or kinds of findings with commas between (connleak explain lists them)",
                             arg);
        } else if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
            help();
            return EXIT_FINE;
        } else if (!strcmp(arg, "--interface") || !strcmp(arg, "-i")) {
            if (++i == argc) return usage("%s needs the name of an interface", arg);
            a->interface = argv[i];
        } else if (!strcmp(arg, "--export-workload")) {
            if (++i == argc) return usage("%s needs the name of a file to write", arg);
            a->export_to = argv[i];
        } else if (!strcmp(arg, "--duration")) {
            if (++i == argc) return usage("%s needs a time such as 90s or 5m", arg);
            if (!duration_parse(argv[i], &a->until.duration_ns) || a->until.duration_ns == 0)
                return usage("--duration: expected a time such as 90s or 5m, found \"%s\"", argv[i]);
        } else if (!strcmp(arg, "--port")) {
            if (++i == argc) return usage("%s needs ports such as 80,443,8000-8010", arg);
            a->ports = argv[i];
        } else if (!strcmp(arg, "--capture-filter")) {
            if (++i == argc) return usage("%s needs an expression as in pcap-filter(7)", arg);
            a->capture_filter = argv[i];
        } else {
            return usage("unknown option %s", arg);
        }
    }
    return check(a);
}

static void put_record(struct analysis *a, const struct wire_record *r) {
    struct json_out *o = &a->out.text;

    if (a->filter && !filter_matches(a->filter, r)) return;
    totals_add(&a->totals, r);
    switch (a->output) {
    case OUTPUT_TABLE:
        table_row(a->table, &a->out, r);
        break;
    case OUTPUT_JSON:
        conn_json(o, &r->life, &a->how);
        break;
    case OUTPUT_JSONL:
        conn_json(o, &r->life, &a->how);
        jo_line(o);
        break;
    case OUTPUT_TSHARK:
        put_tshark_filter(o, r);
        JO_PUT(o, "\n");
        break;
    }
    out_maybe_flush(&a->out);
}

static void tell_event(struct analysis *a, const struct wire_event *e) {
    if (a->workload) workload_builder_event(a->workload, e);
    if (!a->findings) return;
    facts_event(a->findings, e);
    if (e->at_ns - a->ticked_ns < SEC(1)) return;
    a->ticked_ns = e->at_ns;
    findings_tick(a->findings, e->at_ns);
}

static void take_records(struct analysis *a) {
    const struct wire_event *e;
    struct wire_record *r;

    while ((e = wire_next_event(a->wire))) tell_event(a, e);
    while ((r = wire_next(a->wire))) {
        if (a->findings) facts_record(a->findings, r);
        if (a->workload) workload_builder_record(a->workload, r);
        put_record(a, r);
        wire_record_free(&r);
    }
}

static void put_totals(struct json_out *o, const struct totals *t) {
    jo_object(o);
#define PUT(name)                                                                                                      \
    JO_KEY(o, #name);                                                                                                  \
    jo_u64(o, t->name)
    PUT(connections);
    PUT(open);
    PUT(closed);
    PUT(refused);
    PUT(requests);
    PUT(responses);
    PUT(reused);
    PUT(requests_unknown);
    PUT(early_closes);
    PUT(early_unknown);
    PUT(rst_sent);
    PUT(rst_received);
    PUT(rst_unread);
    PUT(rst_after_close);
    PUT(bytes_in);
    PUT(bytes_out);
    PUT(incomplete);
    PUT(retransmits);
    PUT(gap_bytes);
    PUT(zero_windows);
#undef PUT
    jo_object_end(o);
}

static void put_source(struct json_out *o, const struct capture_source *s) {
    const char *type = link_type_name(s->link_type);

    jo_object(o);
    JO_KEY(o, "file");
    jo_str(o, s->path);
    JO_KEY(o, "packets");
    jo_u64(o, s->packets);
    JO_KEY(o, "bytes");
    jo_u64(o, s->bytes);
    JO_KEY(o, "first_at");
    if (s->packets)
        jo_time(o, s->first_ns);
    else
        jo_null(o);
    JO_KEY(o, "last_at");
    if (s->packets)
        jo_time(o, s->last_ns);
    else
        jo_null(o);
    JO_KEY(o, "link_type");
    jo_str(o, type);
    JO_KEY(o, "dropped");
    if (s->dropped_known)
        jo_u64(o, s->dropped);
    else
        jo_null(o);
    JO_KEY(o, "faults");
    jo_array(o);
    if (s->fault[0]) jo_str(o, s->fault);
    jo_array_end(o);
    jo_object_end(o);
}

static void put_packets(struct json_out *o, const struct feed_counts *n) {
    jo_object(o);
    JO_KEY(o, "all");
    jo_u64(o, n->packets);
    JO_KEY(o, "tcp");
    jo_u64(o, n->tcp);
    JO_KEY(o, "other");
    jo_u64(o, n->other);
    JO_KEY(o, "fragments");
    jo_u64(o, n->fragments);
    JO_KEY(o, "cut");
    jo_u64(o, n->cut);
    JO_KEY(o, "malformed");
    jo_u64(o, n->malformed);
    JO_KEY(o, "unsupported_link_type");
    jo_u64(o, n->unsupported);
    jo_object_end(o);
}

/* The connections stream out first: sums are known at the end alone, and memory
 * does not grow with the file. */
static void begin_output(struct analysis *a) {
    struct json_out *o = &a->out.text;

    if (a->output != OUTPUT_JSON) return;
    jo_object(o);
    JO_KEY(o, "schema");
    jo_str(o, "connleak.analysis/1");
    JO_KEY(o, "connections");
    jo_array(o);
}

static void end_output(struct analysis *a) {
    struct json_out *o = &a->out.text;

    if (a->output == OUTPUT_TABLE) {
        spool_end(&a->rows, &a->out);
        put_findings(&a->out, a->findings, a->color);
        spool_copy(&a->rows, &a->out);
        table_end(a->table, &a->out, &a->totals);
    }
    if (a->output == OUTPUT_JSON) {
        jo_array_end(o);
        JO_KEY(o, "captures");
        jo_array(o);
        for (size_t i = 0; i < capture_n_sources(a->capture); i++) {
            struct capture_source s;
            capture_source(a->capture, i, &s);
            put_source(o, &s);
        }
        jo_array_end(o);
        JO_KEY(o, "packets");
        put_packets(o, &a->counts);
        JO_KEY(o, "totals");
        put_totals(o, &a->totals);
        JO_KEY(o, "findings");
        jo_array(o);
        const struct finding *fi;
        for (size_t i = 0; (fi = findings_get(a->findings, i)); i++) {
            finding_json(o, fi, 0);
            out_maybe_flush(&a->out);
        }
        jo_array_end(o);
        jo_object_end(o);
        jo_line(o);
    }
    out_flush(&a->out);
}

static void tell_faults(struct analysis *a) {
    const struct feed_counts *n = &a->counts;

    for (size_t i = 0; i < capture_n_sources(a->capture); i++) {
        struct capture_source s;
        capture_source(a->capture, i, &s);
        if (s.fault[0]) {
            a->faulty = true;
            fprintf(stderr, "connleak: %s: %s\n", s.path, s.fault);
        }
        if (s.dropped_known && s.dropped)
            fprintf(stderr, "connleak: %s: %llu packets were dropped while capturing\n", s.path,
                    (unsigned long long)s.dropped);
    }
    if (n->unsupported) {
        a->faulty = true;
        fprintf(stderr,
                "connleak: %llu packets of link type %d, which cannot be read; expected Ethernet, Linux cooked, "
                "loopback or raw IP\n",
                (unsigned long long)n->unsupported, n->unsupported_type);
    }
    if (n->fragments)
        fprintf(stderr,
                "connleak: %llu IP fragments (the first is packet %llu) were not put together: their bytes count as "
                "missing\n",
                (unsigned long long)n->fragments, (unsigned long long)n->first_fragment);
}

static bool open_capture(struct analysis *a) {
    char error[CAPTURE_TEXT];

    a->capture = a->interface ? capture_open_live(a->interface, a->ports, a->capture_filter, error)
                              : capture_open(a->files, a->n_files, error);
    if (!a->capture) fprintf(stderr, "connleak: %s\n", error);
    return a->capture != NULL;
}

static void run(struct analysis *a) {
    enum capture_step step;
    unsigned turn = 0;

    progress_begin(&a->progress);
    do {
        step = feed_some(a->capture, a->wire, &a->counts);
        take_records(a);
        if (++turn % 512 == 0) progress_show(&a->progress, a->capture, a->wire);
        if (step == CAPTURE_WAIT) out_flush(&a->out);
    } while (step != CAPTURE_END && !(a->interface && live_is_over(&a->until, step)) && !a->out.error);
    progress_end(&a->progress);
    wire_finish(a->wire);
}

static int64_t last_time(const struct capture *c) {
    int64_t last = 0;

    for (size_t i = 0; i < capture_n_sources(c); i++) {
        struct capture_source s;
        capture_source(c, i, &s);
        if (s.last_ns > last) last = s.last_ns;
    }
    return last;
}

static int64_t first_time(const struct capture *c) {
    int64_t first = 0;

    for (size_t i = 0; i < capture_n_sources(c); i++) {
        struct capture_source s;
        capture_source(c, i, &s);
        if (s.packets && (!first || s.first_ns < first)) first = s.first_ns;
    }
    return first;
}

/* Before a long capture is read: will there be a workload? */
static bool open_export(struct analysis *a) {
    if (!a->export_to) return true;
    a->export = fopen(a->export_to, "we");
    if (!a->export) fprintf(stderr, "connleak: %s: %s\n", a->export_to, strerror(errno));
    return a->export != NULL;
}

static bool write_workload(struct analysis *a, const struct workload *w) {
    struct json_out o = {0};
    uint64_t at = 0;
    bool fine = true;

    while (fine && workload_json_some(&o, w, &at)) {
        fine = fwrite(o.data, 1, o.len, a->export) == o.len;
        json_out_reset(&o);
    }
    if (fclose(a->export) != 0) fine = false;
    a->export = NULL;
    if (!fine) fprintf(stderr, "connleak: %s: %s\n", a->export_to, strerror(errno));
    json_out_free(&o);
    return fine;
}

/* Names and paths never leave: the file is for others. */
static bool export_workload(struct analysis *a) {
    const char *why;
    struct workload *w = workload_builder_end(a->workload, first_time(a->capture), last_time(a->capture), &why);
    bool fine = false;

    if (!w) {
        fprintf(stderr, "connleak: %s: not written: too many %s\n", a->export_to, why);
        return false;
    }
    workload_anonymise(w);
    fine = write_workload(a, w);
    workload_free(&w);
    return fine;
}

int analyze_main(int argc, char **argv) {
    struct wire_limits limits = WIRE_LIMITS_DEFAULT;
    struct analysis a = {.out = {.fd = STDOUT_FILENO, .name = "stdout"}};
    int code = parse(&a, argc, argv);

    if (code >= 0) goto done;
    code = EXIT_USAGE;
    if (!open_capture(&a)) goto done;
    if (!open_export(&a)) {
        code = EXIT_FAILED;
        goto done;
    }
    if (a.interface) {
        a.until.stop = &stopped;
        live_catch(&stopped);
        fprintf(stderr, "connleak: capturing on %s%s\n", a.interface, a.until.duration_ns ? "" : " until interrupted");
    }
    limits.exchanges = a.exchanges;
    if (a.output == OUTPUT_TABLE || a.output == OUTPUT_JSON || a.fail_on.any || a.fail_on.kinds) {
        struct findings_conf conf = FINDINGS_CONF_DEFAULT;
        conf.observer = OBSERVER_CAPTURE;
        conf.forward = false;
        conf.leak_after_ns = CAPTURE_LEAK_AFTER;
        a.findings = findings_new(&conf);
        limits.events = true;
    }
    if (a.export_to) {
        const struct workload_limits most = WORKLOAD_LIMITS_DEFAULT;
        a.workload = workload_builder_new(&most);
        limits.events = limits.targets = true;
    }
    a.wire = wire_new(&limits);
    a.how.evidence = evidence_json;
    a.how.arg = &a.how;
    a.color = takes_color(STDOUT_FILENO);
    if (a.output == OUTPUT_TABLE) a.table = table_new(a.color);
    if (a.output == OUTPUT_TABLE && !a.interface) spool_begin(&a.rows, &a.out);
    begin_output(&a);
    run(&a);
    a.how.now_ns = last_time(a.capture);
    take_records(&a);
    if (a.findings) findings_end(a.findings, a.how.now_ns);
    end_output(&a);
    tell_faults(&a);
    code = a.faulty ? EXIT_USAGE : fail_on_found(&a.fail_on, a.findings) ? EXIT_FINDING : EXIT_FINE;
    if (a.workload && !export_workload(&a)) code = EXIT_FAILED;
    if (a.out.error) {
        fprintf(stderr, "connleak: %s: %s\n", a.out.name, strerror(a.out.error));
        code = EXIT_FAILED;
    }
done:
    if (a.export) fclose(a.export);
    filter_free(&a.filter);
    findings_free(&a.findings);
    workload_builder_free(&a.workload);
    table_free(&a.table);
    wire_free(&a.wire);
    capture_close(&a.capture);
    json_out_free(&a.out.text);
    free(a.files);
    return code;
}
