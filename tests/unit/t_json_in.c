/* json_in.h: what a reader finds in JSON, and that it finds nothing where nothing is. */
#include "record/json_in.h"

#include "tap.h"

static const char text[] =
    "{\"pool\":{\"open\":3,\"ratio\":0.5,\"name\":\"a\\u00e9\",\"minus\":-1,\"on\":true,\"none\":null},"
    "\"list\":[{\"id\":\"u-1\"},\"two\",3],\"\":7}";

static struct json_in *parsed(void) {
    struct json_in *j = json_in_parse(text, sizeof text - 1);
    CHECK(j != NULL);
    return j;
}

TEST(values_are_found_by_path) {
    struct json_in *j = parsed();
    const struct json_value *root = json_in_root(j);
    uint64_t n = 0;
    CHECK(ji_u64(root, "pool.open", &n));
    CHECK_EQ(n, 3);
    CHECK_STR(ji_text(root, "pool.name"), "a\xc3\xa9");
    CHECK(ji_u64(ji_get(root, "pool"), "open", &n));
    CHECK_EQ(ji_length(ji_get(root, "list")), 3);
    CHECK_STR(ji_text(ji_item(ji_get(root, "list"), 0), "id"), "u-1");
    CHECK_STR(ji_text(ji_item(ji_get(root, "list"), 1), ""), "two");
    CHECK(ji_u64(ji_item(ji_get(root, "list"), 2), "", &n));
    json_in_free(&j);
    CHECK(j == NULL);
    json_in_free(&j);
}

TEST(what_is_not_there_or_something_else_is_not_found) {
    struct json_in *j = parsed();
    const struct json_value *root = json_in_root(j);
    uint64_t n = 42;
    CHECK(!ji_u64(root, "pool.closed", &n) && !ji_u64(root, "pool.open.more", &n) && !ji_u64(root, "pool.name", &n));
    CHECK(!ji_u64(root, "pool.minus", &n) && !ji_u64(root, "pool.ratio", &n) && !ji_u64(root, "pool.none", &n));
    CHECK_EQ(n, 42);
    CHECK(ji_text(root, "pool") == NULL && ji_text(root, "list") == NULL && ji_text(root, "pool.none") == NULL);
    CHECK(ji_get(root, "nope.nope") == NULL && ji_get(NULL, "pool") == NULL && ji_text(NULL, "") == NULL);
    CHECK(!ji_u64(NULL, "", &n));
    CHECK_EQ(ji_length(NULL), 0);
    CHECK_EQ(ji_length(ji_get(root, "pool")), 0);
    CHECK(ji_item(ji_get(root, "list"), 3) == NULL && ji_item(NULL, 0) == NULL);
    char path[300];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    CHECK(ji_get(root, path) == NULL);
    json_in_free(&j);
}

TEST(what_is_no_json_is_refused) {
    static const char *const bad[] = {"", "{", "[1,]", "nonsense", "{\"a\":1}x", "\"text\"", "{\"a\":\"\xff\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK(json_in_parse(bad[i], strlen(bad[i])) == NULL);
    CHECK(json_in_parse(text, sizeof text - 2) == NULL);
}

TEST(what_was_read_is_written_again) {
    struct json_in *j = parsed();
    struct json_out o = {0};
    jo_array(&o);
    ji_write(&o, ji_get(json_in_root(j), "list"));
    ji_write(&o, NULL);
    jo_array_end(&o);
    static const char want[] = "[[{\"id\":\"u-1\"},\"two\",3],null]";
    CHECK(o.len == sizeof want - 1 && memcmp(o.data, want, o.len) == 0);
    json_out_free(&o);
    json_in_free(&j);
}

int main(void) {
    return tap_run();
}
