/* conn_json.h and conn_read.h: a life as text, and back. */
#include "record/conn_json.h"
#include "record/conn_read.h"

#include "tap.h"

static const struct life_key a_key = {.scheme = "http", .addr = "api.example:8080", .proxy = ""};
static const struct life_client a_probed_client = {
    .tag = "checkout", .user_agent = "", .comm = "aaa", .pid = 54330, .probed = true, .recv_q = 72480};
static const struct life_client a_client = {.tag = "checkout", .user_agent = "Go-http-client/1.1"};

static struct json_out o;

/* A copy of what was written, to be freed. */
static char *taken(void) {
    size_t len;
    return json_out_take(&o, &len);
}

static char *written(const struct lifecycle *l, const struct conn_json *how) {
    conn_json(&o, l, how);
    return taken();
}

static void apply(struct lifecycle *l, int64_t at, enum conn_event_kind kind, uint16_t code, uint64_t value,
                  uint8_t framing) {
    lifecycle_apply(
        l, &(struct conn_event){.at_ns = at, .kind = (uint8_t)kind, .code = code, .value = value, .framing = framing});
}

/* The story of the design: a body of 152,000 bytes given up after 3,921. */
static struct lifecycle early_closed(void) {
    struct lifecycle l = {.id = 42, .side = SIDE_UPSTREAM, .known = KNOW_ALL, .key = &a_key};
    endpoint_parse("127.0.0.1:41234", &l.flow.local);
    endpoint_parse("127.0.0.1:8080", &l.flow.remote);
    int64_t t = SEC(1000);
    apply(&l, t, EV_DIALING, 0, 0, 0);
    apply(&l, t += USEC(400), EV_DIALED, 0, 0, 0);
    apply(&l, t, EV_GOT_CONN, 0, 1500, 0);
    apply(&l, t, EV_REQUEST, 0, 0, 0);
    apply(&l, t, EV_BYTES_OUT, 0, 100, 0);
    apply(&l, t, EV_WROTE_REQUEST, 0, 0, 0);
    apply(&l, t += MSEC(1), EV_RESPONSE, 204, 0, FRAMING_NONE);
    apply(&l, t, EV_PUT_IDLE, 0, 0, 0);
    apply(&l, t += MSEC(1200) + USEC(100), EV_REQUEST, 0, 0, 0);
    apply(&l, t += MSEC(1), EV_RESPONSE, 200, 152000, FRAMING_LENGTH);
    apply(&l, t, EV_BYTES_IN, 0, 4096, 0);
    apply(&l, t, EV_BODY_READ, 0, 3921, 0);
    apply(&l, t, EV_EARLY_CLOSE, 0, 3921, 0);
    apply(&l, t += USEC(7), EV_ENDED, REASON_EARLY_CLOSE, 20068, PHASE_IN_BODY);
    return l;
}

static const struct conn_json how = {.to_wall_ns = SEC(1767323045) - SEC(1000) + 678901234};

TEST(a_closed_record_has_every_field) {
    struct lifecycle l = early_closed();
    char *text = written(&l, &how);
    CHECK_STR(text, "{\"schema\":\"connleak.conn/1\",\"id\":\"u-42\",\"observer\":\"daemon\",\"side\":\"upstream\","
                    "\"local\":\"127.0.0.1:41234\",\"remote\":\"127.0.0.1:8080\","
                    "\"key\":{\"scheme\":\"http\",\"host\":\"api.example:8080\",\"proxy\":null},"
                    "\"protocol\":\"HTTP/1.1\",\"opaque\":false,\"tls\":null,\"state\":\"closed\","
                    "\"opened_at\":\"2026-01-02T03:04:05.678901Z\",\"closed_at\":\"2026-01-02T03:04:06.881408Z\","
                    "\"duration_ms\":1202.507,\"dial_ms\":0.4,\"tls_ms\":null,\"idle_ms\":1200.1,"
                    "\"requests\":2,\"reused\":1,\"responses\":2,\"early_closes\":1,\"retries\":0,"
                    "\"bytes_in\":4096,\"bytes_out\":100,"
                    "\"last_body\":{\"announced\":152000,\"read\":3921,\"framing\":\"content-length\"},"
                    "\"unread_bytes\":20068,\"rst_sent\":true,\"rst_received\":false,"
                    "\"close\":{\"by\":\"local\",\"how\":\"rst\",\"reason\":\"early_close\",\"phase\":\"in_body\","
                    "\"go_error\":\"http: persistConn.readLoop exiting\"},\"client\":null,\"evidence\":{}}");
    free(text);
    lifecycle_clear(&l);
}

TEST(an_open_record_says_how_long_it_has_lasted_and_idled) {
    struct lifecycle l = {
        .id = 17, .side = SIDE_DOWNSTREAM, .known = KNOW_ALL, .client = &a_client, .body_announced = UNKNOWN_BYTES};
    l.flow.remote.family = ADDR_UNIX;
    apply(&l, SEC(1000), EV_ACCEPTED, 0, 0, 0);
    apply(&l, SEC(1000), EV_PUT_IDLE, 0, 0, 0);
    struct conn_json at = how;
    at.now_ns = SEC(1002);
    char *text = written(&l, &at);
    CHECK_STR(text, "{\"schema\":\"connleak.conn/1\",\"id\":\"d-17\",\"observer\":\"daemon\",\"side\":\"downstream\","
                    "\"local\":null,\"remote\":\"unix\",\"key\":null,\"protocol\":\"HTTP/1.1\",\"opaque\":false,"
                    "\"tls\":null,\"state\":\"idle\",\"opened_at\":\"2026-01-02T03:04:05.678901Z\","
                    "\"closed_at\":null,\"duration_ms\":2000,\"dial_ms\":null,\"tls_ms\":null,\"idle_ms\":2000,"
                    "\"requests\":0,\"reused\":0,\"responses\":0,\"early_closes\":0,\"retries\":0,"
                    "\"bytes_in\":0,\"bytes_out\":0,\"last_body\":null,\"unread_bytes\":null,\"rst_sent\":false,"
                    "\"rst_received\":false,\"close\":{\"by\":\"none\",\"how\":\"none\",\"reason\":null,"
                    "\"phase\":null,\"go_error\":null},\"client\":{\"tag\":\"checkout\","
                    "\"user_agent\":\"Go-http-client/1.1\",\"pid\":null,\"comm\":null,\"recv_q\":null},"
                    "\"evidence\":{}}");
    free(text);
    lifecycle_clear(&l);
}

TEST(what_is_not_known_is_null) {
    struct lifecycle l = early_closed();
    l.known = 0;
    l.key = NULL;
    char *text = written(&l, &how);
    CHECK_STR(text, "{\"schema\":\"connleak.conn/1\",\"id\":\"u-42\",\"observer\":\"daemon\",\"side\":\"upstream\","
                    "\"local\":\"127.0.0.1:41234\",\"remote\":\"127.0.0.1:8080\",\"key\":null,"
                    "\"protocol\":null,\"opaque\":false,\"tls\":null,\"state\":\"closed\",\"opened_at\":null,"
                    "\"closed_at\":null,\"duration_ms\":null,\"dial_ms\":null,\"tls_ms\":null,\"idle_ms\":null,"
                    "\"requests\":null,\"reused\":null,\"responses\":null,\"early_closes\":null,\"retries\":null,"
                    "\"bytes_in\":null,\"bytes_out\":null,\"last_body\":null,\"unread_bytes\":null,"
                    "\"rst_sent\":null,\"rst_received\":null,\"close\":{\"by\":null,\"how\":null,\"reason\":null,"
                    "\"phase\":null,\"go_error\":null},\"client\":null,\"evidence\":{}}");
    free(text);
    lifecycle_clear(&l);
}

TEST(events_come_in_order_with_what_they_carry) {
    struct lifecycle l = early_closed();
    struct conn_json with = how;
    with.events = true;
    char *text = written(&l, &with);
    const char *events = strstr(text, "\"events\":[");
    CHECK(events != NULL);
    if (events) {
        CHECK(strstr(events, "\"events\":[{\"at\":\"2026-01-02T03:04:05.678901Z\",\"event\":\"dialing\"},") == events);
        CHECK(strstr(events, "\"event\":\"got_conn\",\"value\":1500}") != NULL);
        CHECK(strstr(events, "\"event\":\"response\",\"status\":204,\"value\":0}") != NULL);
        CHECK(strstr(events, "\"event\":\"early_close\",\"value\":3921}") != NULL);
        CHECK(strstr(events, "\"event\":\"closed\",\"reason\":\"early_close\",\"value\":20068}],"
                             "\"events_dropped\":0,\"evidence\":{}}") != NULL);
        CHECK(strstr(events, "bytes_in") == NULL);
    }
    free(text);
    lifecycle_clear(&l);
}

static void an_rst_packet(struct json_out *out, const struct lifecycle *l, void *arg) {
    jo_object(out);
    JO_KEY(out, "rst_packet");
    jo_u64(out, *(uint64_t *)arg + l->id);
    jo_object_end(out);
}

TEST(evidence_is_the_callers_to_write) {
    struct lifecycle l = early_closed();
    uint64_t packet = 100;
    struct conn_json with = how;
    with.evidence = an_rst_packet;
    with.arg = &packet;
    char *text = written(&l, &with);
    CHECK(strstr(text, ",\"evidence\":{\"rst_packet\":142}}") != NULL);
    free(text);
    lifecycle_clear(&l);
}

TEST(ids_as_text_and_back) {
    char buf[CONN_ID_TEXT_MAX];
    enum side side;
    conn_id id;
    CHECK_STR(conn_id_text(SIDE_CLIENT, 3, buf), "c-3");
    CHECK_STR(conn_id_text(SIDE_DOWNSTREAM, UINT64_MAX, buf), "d-18446744073709551615");
    CHECK(conn_id_parse(buf, &side, &id) && side == SIDE_DOWNSTREAM && id == UINT64_MAX);
    CHECK(conn_id_parse("u-1", &side, &id) && side == SIDE_UPSTREAM && id == 1);
    static const char *const bad[] = {"",   "u",    "u-",   "u-0",  "u-01", "x-1",
                                      "u1", "u-1x", "u--1", "u- 1", "U-1",  "d-18446744073709551616",
                                      "-1", "1",    "u-+1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) CHECK(!conn_id_parse(bad[i], &side, &id));
}

/* ---- reading ---- */

static struct conn_reader *reader;

static enum conn_read read_text(const char *text, struct conn_record *rec) {
    return conn_read(reader, text, strlen(text), rec);
}

/* The text that comes from reading `text`, to be freed; NULL: it could not be read. */
static char *again(const char *text, bool events) {
    struct conn_record rec;
    if (read_text(text, &rec) != CONN_READ_OK) {
        tap_fail(__FILE__, __LINE__, "%s", conn_reader_error(reader));
        return NULL;
    }
    char *out = written(
        &rec.life,
        &(struct conn_json){.now_ns = rec.seen_ns, .events = events, .evidence = conn_record_evidence, .arg = &rec});
    conn_record_clear(&rec);
    return out;
}

static void check_round_trip(const struct lifecycle *l, const struct conn_json *with) {
    char *text = written(l, with);
    char *second = again(text, with->events);
    CHECK_STR(second, text);
    free(second);
    free(text);
}

TEST(what_is_read_and_written_again_is_the_same_text) {
    static const struct life_key proxied = {.scheme = "https", .addr = "", .proxy = "http://p:3128"};
    uint64_t packet = 5;
    struct conn_json with = {.to_wall_ns = how.to_wall_ns, .now_ns = SEC(1010) + 999, .events = true};
    reader = conn_reader_new();
    struct lifecycle l = early_closed();
    check_round_trip(&l, &how);
    check_round_trip(&l, &with);
    for (unsigned bit = 0; bit < 17; bit++) { /* each null alone */
        l.known = KNOW_ALL & ~(1u << bit);
        check_round_trip(&l, &with);
        l.known = 1u << bit;
        check_round_trip(&l, &with);
    }
    l.known = KNOW_ALL;
    l.key = &proxied;
    l.client = &a_client;
    l.tls_ns = l.dialed_ns + 123456789;
    l.tls_version = "TLSv1.3";
    l.close_notify = true;
    with.evidence = an_rst_packet;
    with.arg = &packet;
    check_round_trip(&l, &with);
    l.tls_cipher = "TLS_AES_256_GCM_SHA384";
    check_round_trip(&l, &with);
    l.client = &a_probed_client;
    check_round_trip(&l, &with);
    char *text = written(&l, &with);
    CHECK(strstr(text, "\"client\":{\"tag\":\"checkout\",\"user_agent\":null,\"pid\":54330,\"comm\":\"aaa\","
                       "\"recv_q\":72480}") != NULL);
    free(text);
    lifecycle_clear(&l);
    for (unsigned n = 0; n < 7; n++) { /* open, in every state */
        l = (struct lifecycle){.id = 9, .known = KNOW_ALL, .body_announced = UNKNOWN_BYTES};
        if (n > 0) apply(&l, SEC(1000) + 777, EV_DIALING, 0, 0, 0);
        if (n > 1) apply(&l, SEC(1001) + 1777, EV_DIALED, 0, 0, 0);
        if (n > 2) apply(&l, SEC(1002), EV_REQUEST, 0, 0, 0);
        if (n > 3) apply(&l, SEC(1003), EV_RESPONSE, 200, UNKNOWN_BYTES, FRAMING_UNTIL_EOF);
        if (n > 4) apply(&l, SEC(1004) + 5, EV_PUT_IDLE, 0, 0, 0);
        if (n > 5) apply(&l, SEC(1005) + 4, EV_TUNNEL, 0, 0, 0);
        check_round_trip(&l, &with);
        if (n > 5) {
            apply(&l, SEC(1006), EV_ENDED, REASON_TUNNEL, 0, PHASE_NONE);
            check_round_trip(&l, &with);
        }
        lifecycle_clear(&l);
    }
    l = (struct lifecycle){.id = 9, .known = KNOW_ALL}; /* more events than are kept */
    for (unsigned i = 0; i < 100; i++) apply(&l, SEC(1000 + i), EV_REQUEST, 0, 0, 0);
    check_round_trip(&l, &with);
    lifecycle_clear(&l);
    conn_reader_free(&reader);
}

TEST(every_reason_phase_and_framing_is_read_back) {
    reader = conn_reader_new();
    struct lifecycle l = early_closed();
    for (unsigned i = 0; i < N_REASONS; i++) {
        l.close_reason = (uint8_t)i;
        check_round_trip(&l, &how);
    }
    for (unsigned i = 0; i <= PHASE_AFTER_BODY; i++) {
        l.close_phase = (uint8_t)i;
        check_round_trip(&l, &how);
    }
    for (unsigned i = 0; i <= FRAMING_UNTIL_EOF; i++) {
        l.body_framing = (uint8_t)i;
        check_round_trip(&l, &how);
    }
    for (unsigned i = 0; i <= OBSERVER_KERNEL; i++) {
        l.observer = (uint8_t)i;
        check_round_trip(&l, &how);
    }
    for (unsigned i = 0; i < N_SIDES; i++) {
        l.side = (uint8_t)i;
        check_round_trip(&l, &how);
    }
    for (unsigned i = 0; i < 9; i++) {
        l.close_by = (uint8_t)(i / 3);
        l.close_how = (uint8_t)(i % 3);
        check_round_trip(&l, &how);
    }
    lifecycle_clear(&l);
    conn_reader_free(&reader);
}

TEST(a_record_is_read_into_numbers) {
    struct lifecycle l = early_closed();
    char *text = written(&l, &how);
    struct conn_record rec;
    reader = conn_reader_new();
    CHECK_EQ(read_text(text, &rec), CONN_READ_OK);
    int64_t skew = how.to_wall_ns - how.to_wall_ns % 1000;
    CHECK_EQ(rec.life.id, 42);
    CHECK_EQ(rec.life.known, KNOW_ALL & ~(unsigned)KNOW_CLOSE_NOTIFY); /* plain */
    CHECK_EQ(rec.life.opened_ns, l.opened_ns + skew);
    CHECK_EQ(rec.life.dialed_ns, l.dialed_ns + skew);
    CHECK_EQ(rec.life.closed_ns, l.closed_ns + skew);
    CHECK_EQ(rec.seen_ns, rec.life.closed_ns);
    CHECK_EQ(rec.life.idle_total_ns, MSEC(1200) + USEC(100));
    CHECK(flow_equal(&rec.life.flow, &l.flow));
    CHECK_STR(rec.life.key->addr, "api.example:8080");
    CHECK_STR(rec.life.key->proxy, "");
    CHECK_EQ(rec.life.requests, 2);
    CHECK_EQ(rec.reused, 1);
    CHECK_EQ(rec.life.body_announced, 152000);
    CHECK_EQ(rec.life.body_read, 3921);
    CHECK_EQ(rec.life.unread_bytes, 20068);
    CHECK(rec.life.rst_sent && !rec.life.rst_received);
    CHECK_EQ(rec.life.close_reason, REASON_EARLY_CLOSE);
    CHECK_EQ(rec.life.close_phase, PHASE_IN_BODY);
    CHECK(rec.evidence == NULL);
    conn_record_clear(&rec);
    conn_reader_free(&reader);
    free(text);
    lifecycle_clear(&l);
}

TEST(evidence_comes_back_as_text) {
    reader = conn_reader_new();
    char *out =
        again("{\"schema\":\"connleak.conn/1\",\"id\":\"c-3\",\"observer\":\"capture\",\"side\":\"client\","
              "\"state\":\"open\",\"evidence\":{\"history\":\"ShADad\",\"zero_window_ms\":0.125,\"rst\":[1,2]}}",
              false);
    CHECK(out && strstr(out, ",\"evidence\":{\"history\":\"ShADad\",\"zero_window_ms\":0.125,\"rst\":[1,2]}}"));
    free(out);
    conn_reader_free(&reader);
}

#define LEAST                                                                                                          \
    "\"schema\":\"connleak.conn/1\",\"id\":\"u-1\",\"observer\":\"daemon\",\"side\":\"upstream\",\"state\":\"closed\""

TEST(the_least_record_knows_nothing) {
    struct conn_record rec;
    reader = conn_reader_new();
    CHECK_EQ(read_text("{" LEAST ",\"from_the_future\":{\"x\":[]}}\n", &rec), CONN_READ_OK);
    CHECK_EQ(rec.life.known, 0);
    CHECK(rec.life.key == NULL && rec.life.client == NULL && rec.life.tls_version == NULL);
    CHECK_EQ(rec.life.opened_ns, 0);
    CHECK_EQ(rec.seen_ns, 0);
    conn_record_clear(&rec);
    conn_reader_free(&reader);
}

TEST(lines_that_are_no_records) {
    struct conn_record rec;
    reader = conn_reader_new();
    CHECK_EQ(read_text("", &rec), CONN_READ_BLANK);
    CHECK_EQ(read_text(" \r\n", &rec), CONN_READ_BLANK);
    CHECK_EQ(read_text("{\"schema\":\"connleak.finding/1\"}", &rec), CONN_READ_OTHER);
    CHECK_EQ(read_text("{\"schema\":\"connleak.conn/1\",", &rec), CONN_READ_ERROR);
    CHECK(!strncmp(conn_reader_error(reader), "line 4: ", 8));
    CHECK_EQ(read_text("[]", &rec), CONN_READ_ERROR);
    CHECK_STR(conn_reader_error(reader), "line 5: schema: expected \"connleak.conn/1\", found nothing");
    CHECK_EQ(conn_read(reader, "\0", 1, &rec), CONN_READ_ERROR);
    conn_reader_free(&reader);
}

struct wrong {
    const char *field, *message;
};

TEST(a_wrong_field_is_named_with_its_line) {
    static const struct wrong wrongs[] = {
        {"\"opened_at\":5", "opened_at: expected a time such as \"2026-01-02T03:04:05.678901Z\", found 5"},
        {"\"opened_at\":\"2026-02-29T00:00:00Z\"", "opened_at: expected a time such as"},
        {"\"opened_at\":\"2026-01-02T03:04:05\"", "opened_at: expected a time such as"},
        {"\"opened_at\":\"2026-01-02T24:04:05Z\"", "opened_at: expected a time such as"},
        {"\"opened_at\":\"2026-01-02T03:04:05.Z\"", "opened_at: expected a time such as"},
        {"\"opened_at\":\"2026-01-02T03:04:05.1234567890Z\"", "opened_at: expected a time such as"},
        {"\"opened_at\":\"9999-01-02T03:04:05Z\"", "opened_at: expected a time such as"},
        {"\"closed_at\":{}", "closed_at: expected a time such as"},
        {"\"duration_ms\":\"1\"", "duration_ms: expected milliseconds, found \"1\""},
        {"\"idle_ms\":1e300", "idle_ms: expected milliseconds"},
        {"\"dial_ms\":true", "dial_ms: expected milliseconds, found true"},
        {"\"local\":\"nowhere\"", "local: expected an address with a port, found \"nowhere\""},
        {"\"remote\":7", "remote: expected an address with a port, found 7"},
        {"\"requests\":-1", "requests: expected a count, found -1"},
        {"\"requests\":4294967296", "requests: expected a count, found 4294967296"},
        {"\"responses\":1.5", "responses: expected a count, found 1.5"},
        {"\"reused\":\"\"", "reused: expected a count"},
        {"\"retries\":[]", "retries: expected a count"},
        {"\"early_closes\":true", "early_closes: expected a count"},
        {"\"bytes_in\":\"5\"", "bytes_in: expected a count"},
        {"\"bytes_out\":-5", "bytes_out: expected a count"},
        {"\"unread_bytes\":0.1", "unread_bytes: expected a count"},
        {"\"rst_sent\":1", "rst_sent: expected true or false, found 1"},
        {"\"rst_received\":\"no\"", "rst_received: expected true or false"},
        {"\"opaque\":0", "opaque: expected true or false"},
        {"\"key\":[]", "key: expected an object, found []"},
        {"\"key\":{\"host\":5}", "key.host: expected a string, found 5"},
        {"\"client\":{\"tag\":5}", "client.tag: expected a string, found 5"},
        {"\"client\":{\"recv_q\":-1}", "client.recv_q: expected a count, found -1"},
        {"\"tls\":{}", "tls.version: expected a value, found nothing"},
        {"\"tls\":{\"version\":[]}", "tls.version: expected a string"},
        {"\"last_body\":5", "last_body: expected an object"},
        {"\"last_body\":{\"framing\":\"x\"}", "last_body.framing: expected a framing, found \"x\""},
        {"\"close\":\"fin\"", "close: expected an object"},
        {"\"close\":{\"by\":\"us\"}", "close.by: expected local, remote or none, found \"us\""},
        {"\"close\":{\"how\":\"x\"}", "close.how: expected fin, rst or none"},
        {"\"close\":{\"reason\":\"foo\"}", "close.reason: expected a close reason, found \"foo\""},
        {"\"close\":{\"phase\":5}", "close.phase: expected a phase, found 5"},
        {"\"evidence\":[]", "evidence: expected an object"},
        {"\"events\":{}", "events: expected a list"},
        {"\"events\":[5]", "events: expected objects, found 5"},
        {"\"events\":[{}]", "events.at: expected a value, found nothing"},
        {"\"events\":[{\"at\":\"2026-01-02T03:04:05Z\",\"event\":\"x\"}]", "events.event: expected a kind of event"},
        {"\"events\":[{\"at\":\"2026-01-02T03:04:05Z\",\"event\":\"closed\",\"reason\":\"x\"}]",
         "events.reason: expected a close reason"},
        {"\"opened_at\":\"2261-01-02T03:04:05Z\",\"dial_ms\":9e12", "dial_ms: expected a shorter time"},
        {"\"opened_at\":\"2261-01-02T03:04:05Z\",\"dial_ms\":1,\"tls_ms\":9e12", "tls_ms: expected a shorter time"},
        {"\"opened_at\":\"2261-01-02T03:04:05Z\",\"duration_ms\":9e12", "duration_ms: expected a shorter time"},
        {"\"id\":\"u-2\"", "not JSON: duplicate object key"},
    };
    struct conn_record rec;
    char line[512], place[32];
    reader = conn_reader_new();
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        snprintf(line, sizeof(line), "{" LEAST ",%s}", wrongs[i].field);
        snprintf(place, sizeof(place), "line %zu: ", i + 1);
        CHECK_EQ(read_text(line, &rec), CONN_READ_ERROR);
        if (strncmp(conn_reader_error(reader), place, strlen(place)) ||
            !strstr(conn_reader_error(reader), wrongs[i].message))
            tap_fail(__FILE__, __LINE__, "%s: %s", wrongs[i].field, conn_reader_error(reader));
    }
    conn_reader_free(&reader);
}

TEST(what_every_record_has_must_be_there) {
    static const struct wrong wrongs[] = {
        {"{\"schema\":\"connleak.conn/1\"}", "id: expected a value"},
        {"{\"schema\":\"connleak.conn/1\",\"id\":\"u-1\"}", "observer: expected a value"},
        {"{\"schema\":\"connleak.conn/1\",\"id\":\"u-1\",\"observer\":\"daemon\",\"side\":\"upstream\"}", "state: exp"},
        {"{\"schema\":\"connleak.conn/"
         "1\",\"id\":\"x\",\"observer\":\"daemon\",\"side\":\"upstream\",\"state\":\"open\"}",
         "id: expected an id such as \"u-42\", found \"x\""},
        {"{\"schema\":\"connleak.conn/"
         "1\",\"id\":\"d-1\",\"observer\":\"daemon\",\"side\":\"upstream\",\"state\":\"open\"}",
         "id: expected an id of its side, found \"d-1\""},
        {"{\"schema\":\"connleak.conn/1\",\"id\":\"u-1\",\"observer\":\"me\",\"side\":\"upstream\",\"state\":\"open\"}",
         "observer: expected an observer"},
        {"{\"schema\":\"connleak.conn/1\",\"id\":\"u-1\",\"observer\":\"daemon\",\"side\":5,\"state\":\"open\"}",
         "side: expected a side"},
        {"{\"schema\":\"connleak.conn/1\",\"id\":\"u-1\",\"observer\":\"daemon\",\"side\":\"upstream\",\"state\":\"\"}",
         "state: expected a state"},
        {"{\"schema\":\"connleak.conn/"
         "1\",\"id\":\"u-1\",\"observer\":\"daemon\",\"side\":\"upstream\",\"state\":\"open\","
         "\"closed_at\":\"2026-01-02T03:04:05Z\"}",
         "closed_at: expected null while it is open"},
    };
    struct conn_record rec;
    reader = conn_reader_new();
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        CHECK_EQ(read_text(wrongs[i].field, &rec), CONN_READ_ERROR);
        if (!strstr(conn_reader_error(reader), wrongs[i].message))
            tap_fail(__FILE__, __LINE__, "%s: %s", wrongs[i].field, conn_reader_error(reader));
    }
    conn_reader_free(&reader);
}

TEST(texts_are_shared_between_records) {
    struct conn_record one, two;
    reader = conn_reader_new();
    const char *text = "{" LEAST ",\"key\":{\"scheme\":\"http\",\"host\":\"a:80\",\"proxy\":null},"
                       "\"tls\":{\"version\":\"TLSv1.2\",\"cipher\":null}}";
    CHECK_EQ(read_text(text, &one), CONN_READ_OK);
    CHECK_EQ(read_text(text, &two), CONN_READ_OK);
    CHECK(one.life.key == two.life.key);
    CHECK(one.life.tls_version == two.life.tls_version);
    conn_record_clear(&one);
    CHECK_STR(two.life.key->addr, "a:80");
    conn_record_clear(&two);
    conn_reader_free(&reader);
}

int main(void) {
    int failed = tap_run();
    json_out_free(&o);
    return failed;
}
