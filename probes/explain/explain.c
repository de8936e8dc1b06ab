/* connleak explain: a word, or a line of somebody's log, and what it means. */
#define _GNU_SOURCE /* strcasestr */
#include "commands.h"
#include "core/advice.h"
#include "explain/words.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define WIDTH 80

static bool bold; /* on a terminal: words, and the titles of lists */

static const char *const help_text =
    "Usage: connleak explain [--client NAME] WORD\n"
    "       connleak explain\n"
    "\n"
    "Says what a word of connleak or connleakd means, and what to do: a close reason,\n"
    "a kind of finding, a state, phase, event, verdict or cause, a number of\n"
    "/metrics, a parameter, Zeek's conn_state and history. WORD may also be a message\n"
    "of Go or of another client or server, or a line of a log that has one in it.\n"
    "Without WORD all words are listed.\n"
    "\n"
    "  --client NAME   what to change in this client alone: go, requests, node, ...\n"
    "\n"
    "Exit codes: 0 it is explained; 2 it is no such word: the nearest are named.\n";

/* ---- output ---- */

/* Text in lines of WIDTH, each indented, but for the first, which goes on at `column`. */
static void wrap(const char *text, size_t indent, size_t column) {
    while (*text) {
        size_t word = strcspn(text, " ");
        if (column > indent && column + 1 + word > WIDTH) {
            putchar('\n');
            column = 0;
        }
        if (column < indent) {
            printf("%*s", (int)(indent - column), "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)word, text);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void labelled(const char *label, const char *text) {
    if (!*text) return;
    printf("  %s\n", label);
    wrap(text, 6, 0);
}

/* ---- words ---- */

struct hit {
    enum word_group group;
    const struct word *word;
    const char *needle; /* what was found in a pasted line; NULL: the word itself was asked for */
};

struct hits {
    struct hit *hit;
    size_t n, room;
};

static void add_hit(struct hits *h, enum word_group g, const struct word *w, const char *needle) {
    for (size_t i = 0; i < h->n; i++)
        if (h->hit[i].word == w) return;
    if (h->n == h->room) {
        h->room = h->room ? 2 * h->room : 16;
        h->hit = reallocarray(h->hit, h->room, sizeof *h->hit);
        if (!h->hit) abort();
    }
    h->hit[h->n++] = (struct hit){g, w, needle};
}

typedef void word_fn(enum word_group g, const struct word *w, void *arg);

static void each_word(word_fn *fn, void *arg) {
    for (unsigned g = 0; g < N_WORD_GROUPS; g++) {
        size_t n;
        const struct word *w = words_of((enum word_group)g, &n);
        for (; n; n--, w++)
            if (w->name) fn((enum word_group)g, w, arg);
    }
}

/* Words with a path are known by their last part, too. */
static bool is_called(enum word_group g, const struct word *w, const char *text) {
    if (!strcasecmp(w->name, text)) return true;
    const char *dot = strrchr(w->name, '.');
    return dot && (g == WORDS_METRICS || g == WORDS_PARAMS || g == WORDS_FIELDS || g == WORDS_RECORD_FIELDS) &&
           !strcasecmp(dot + 1, text);
}

struct search {
    const char *text;
    struct hits *hits;
};

static void find_name(enum word_group g, const struct word *w, void *arg) {
    const struct search *s = arg;
    if (is_called(g, w, s->text)) add_hit(s->hits, g, w, NULL);
}

static void find_names(const char *text, struct hits *hits) {
    each_word(find_name, &(struct search){text, hits});
}

/* ---- one word, explained ---- */

static void advice_of(enum finding_kind k, int client) {
    struct advice a;
    if (client >= 0) {
        labelled("What to do", finding_advice(k, (enum stack)client));
        return;
    }
    for (unsigned i = 0; finding_advice_at(k, i, &a); i++) {
        labelled(a.stack == STACK_UNKNOWN ? "What to do" : stack_text(a.stack), a.text);
    }
}

/* The words to read on at, with their meaning. */
static void see(const char *names) {
    char name[64];
    size_t len;
    for (; *names; names += len, names += strspn(names, " ")) {
        struct hits found = {0};
        len = strcspn(names, " ");
        snprintf(name, sizeof name, "%.*s", (int)len, names);
        find_names(name, &found);
        if (found.n) {
            char label[80];
            snprintf(label, sizeof label, "See %s", name);
            labelled(label, found.hit[0].word->text);
        }
        free(found.hit);
    }
}

/* "early_close (close reason)": what kind of word it is. */
static void title(const struct hit *h) {
    const struct word *w = h->word;
    printf("%s%s%s (%s", bold ? "\033[1m" : "", w->name, bold ? "\033[0m" : "", words_group(h->group)->one);
    switch (*w->note ? (int)h->group : -1) {
    case -1:
        break;
    case WORDS_FINDINGS:
        printf("; mostly %s", w->note);
        break;
    case WORDS_MESSAGES:
        printf(" of %s", w->note);
        break;
    case WORDS_PARAMS:
        printf("; default: %s", w->note);
        break;
    case WORDS_STACKS:
        printf("; its User-Agent begins with %s", w->note);
        break;
    default:
        printf(": %s", w->note);
    }
    puts(")");
}

static void explain(const struct hit *h, int client) {
    const struct word *w = h->word;
    enum finding_kind kind;

    title(h);
    wrap(w->text, 2, 0);
    labelled("In Go", w->go_error);
    if (h->group == WORDS_PARAMS && *w->advice)
        labelled("Only the default is accepted", w->advice);
    else
        labelled("What to do", w->advice);
    if (h->group == WORDS_FINDINGS && finding_parse(w->name, &kind)) advice_of(kind, client);
    see(w->see);
}

static void explain_all(const struct hits *hits, int client) {
    for (size_t i = 0; i < hits->n; i++) {
        if (i) putchar('\n');
        explain(&hits->hit[i], client);
    }
}

/* ---- a pasted line ---- */

static bool is_word_byte(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

/* Is it in the text, whatever the case? Short ones only as words of their own. */
static bool contains(const char *text, const char *needle) {
    size_t len = strlen(needle);
    for (const char *at = text; (at = strcasestr(at, needle)); at++)
        if (len >= 8 || ((at == text || !is_word_byte(at[-1])) && !is_word_byte(at[len]))) return true;
    return false;
}

/* What others say for it: a message, or Go's message for a close reason. */
static const char *message_of(enum word_group g, const struct word *w) {
    return g == WORDS_MESSAGES ? w->name : w->go_error;
}

static void find_message(enum word_group g, const struct word *w, void *arg) {
    const struct search *s = arg;
    const char *needle = message_of(g, w);
    if (*needle && contains(s->text, needle)) add_hit(s->hits, g, w, needle);
}

/* Messages that are a part of a longer one that was found, too, are not meant. */
static void drop_parts(struct hits *h) {
    size_t kept = 0;
    for (size_t i = 0; i < h->n; i++) {
        bool part = false;
        for (size_t j = 0; j < h->n && !part; j++)
            part =
                strlen(h->hit[j].needle) > strlen(h->hit[i].needle) && strcasestr(h->hit[j].needle, h->hit[i].needle);
        if (!part) h->hit[kept++] = h->hit[i];
    }
    h->n = kept;
}

/* The other way round: what was typed is a part of a message. */
static void find_part(enum word_group g, const struct word *w, void *arg) {
    const struct search *s = arg;
    if (strcasestr(message_of(g, w), s->text)) add_hit(s->hits, g, w, NULL);
}

/* Words of ours in the line: those with an underscore, and Zeek's states, which nobody writes by chance. */
static void find_tokens(const char *text, struct hits *hits) {
    char token[64];
    for (size_t len; *text; text += len) {
        if (!is_word_byte(*text)) {
            len = 1;
            continue;
        }
        for (len = 1; is_word_byte(text[len]); len++) {}
        if (len >= sizeof token) continue;
        memcpy(token, text, len);
        token[len] = '\0';
        size_t n;
        const struct word *zeek = words_of(WORDS_ZEEK_STATES, &n);
        for (; n; n--, zeek++)
            if (len > 2 && !strcmp(zeek->name, token)) add_hit(hits, WORDS_ZEEK_STATES, zeek, NULL);
        if (strchr(token, '_')) find_names(token, hits);
    }
}

/* ---- Zeek's history ---- */

static const struct word *letter_of(char c) {
    size_t n;
    const struct word *w = words_of(WORDS_ZEEK_LETTERS, &n);
    for (; n; n--, w++)
        if (*w->name == tolower((unsigned char)c)) return w;
    return NULL;
}

/* Letters of Zeek alone, with one of the client among them. */
static bool is_history(const char *text) {
    bool client = false;
    if (strlen(text) < 2) return false;
    for (const char *p = text; *p; p++) {
        if (!letter_of(*p)) return false;
        client |= isupper((unsigned char)*p) || *p == '^';
    }
    return client;
}

static void explain_history(const char *text) {
    printf("%s (Zeek's history)\n", text);
    for (; *text; text++) {
        printf("  %c  %s: ", *text, *text == '^' ? "Zeek" : isupper((unsigned char)*text) ? "client" : "server");
        puts(letter_of(*text)->text);
    }
}

/* ---- no such word ---- */

#define NEAREST 6
struct nearest {
    const char *text;
    struct {
        const char *name;
        size_t distance;
    } found[NEAREST];
    size_t n;
};

/* How many letters to change, add or leave out; words of at most 63 bytes. */
static size_t distance(const char *a, const char *b) {
    size_t row[64], la = strlen(a), lb = strlen(b);
    if (la >= 64 || lb >= 64) return 64;
    for (size_t j = 0; j <= lb; j++) row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t above = row[j];
            size_t best = diagonal + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[lb];
}

static void measure(enum word_group g, const struct word *w, void *arg) {
    struct nearest *near = arg;
    size_t len = strlen(near->text), d = distance(near->text, w->name), i;

    if (g == WORDS_MESSAGES || g == WORDS_ZEEK_LETTERS) return;
    if (len >= 3 && strcasestr(w->name, near->text)) d = 1;
    if (g == WORDS_FINDINGS && len >= 4 && d > 1 && strcasestr(w->text, near->text)) d = 1;
    if (d > (len < 4 ? 1 : 1 + len / 4)) return;
    for (i = 0; i < near->n; i++)
        if (!strcmp(near->found[i].name, w->name)) return;
    for (i = near->n; i && near->found[i - 1].distance > d; i--)
        if (i < NEAREST) near->found[i] = near->found[i - 1];
    if (i == NEAREST) return;
    near->found[i].name = w->name;
    near->found[i].distance = d;
    if (near->n < NEAREST) near->n++;
}

static int unknown(const char *text) {
    struct nearest near = {.text = text};
    each_word(measure, &near);
    fputs("connleak explain: ", stderr);
    for (size_t i = 0; i < 200 && text[i]; i++) fputc(iscntrl((unsigned char)text[i]) ? '?' : text[i], stderr);
    fputs(": no such word", stderr);
    for (size_t i = 0; i < near.n; i++) fprintf(stderr, "%s%s", i ? ", " : "; near it: ", near.found[i].name);
    fputs("; connleak explain lists all\n", stderr);
    return EXIT_USAGE;
}

/* ---- the command ---- */

static void list_all(void) {
    for (unsigned g = 0; g < N_WORD_GROUPS; g++) {
        size_t n;
        const struct word *w = words_of((enum word_group)g, &n);
        printf("%s%s%s%s\n", g ? "\n" : "", bold ? "\033[1m" : "", words_group((enum word_group)g)->title,
               bold ? "\033[0m" : "");
        size_t column = 0;
        for (; n; n--, w++) {
            if (!w->name) continue;
            if (g == WORDS_MESSAGES) {
                printf("  %-7s %s\n", w->note, w->name);
                continue;
            }
            size_t len = strlen(w->name);
            if (column && column + 2 + len > WIDTH) column = (putchar('\n'), 0);
            printf("  %s", w->name);
            column += 2 + len;
        }
        if (column) putchar('\n');
    }
}

/* True: it is explained. */
static bool explain_text(const char *text, int client) {
    struct hits hits = {0};

    find_names(text, &hits);
    if (!hits.n && is_history(text)) {
        explain_history(text);
        return true;
    }
    if (!hits.n) {
        each_word(find_message, &(struct search){text, &hits});
        drop_parts(&hits);
        find_tokens(text, &hits);
    }
    if (!hits.n && strlen(text) >= 6) each_word(find_part, &(struct search){text, &hits});
    explain_all(&hits, client);
    free(hits.hit);
    return hits.n > 0;
}

/* The arguments with a blank between them, and none around them; the caller frees it. */
static char *joined(int argc, char **argv) {
    size_t len = 1;
    for (int i = 0; i < argc; i++) len += strlen(argv[i]) + 1;
    char *text = calloc(1, len), *at = text;
    if (!text) abort();
    for (int i = 0; i < argc; i++) {
        if (at != text) *at++ = ' ';
        at = stpcpy(at, argv[i] + strspn(argv[i], " \t\r\n"));
        while (at > text && isspace((unsigned char)at[-1])) *--at = '\0';
    }
    return text;
}

static bool parse_client(const char *name, int *out) {
    for (unsigned s = 0; s < N_STACKS; s++)
        if (!strcasecmp(name, stack_name((enum stack)s))) return *out = (int)s, true;
    fprintf(stderr, "connleak explain: --client %.60s: no client that is known; these are:", name);
    for (unsigned s = 0; s < N_STACKS; s++) fprintf(stderr, "%s %s", s ? "," : "", stack_name((enum stack)s));
    fputc('\n', stderr);
    return false;
}

int explain_main(int argc, char **argv) {
    int client = -1, i = 1;

    bold = takes_color(STDOUT_FILENO);
    for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            fputs(help_text, stdout);
            return EXIT_FINE;
        }
        if (!strcmp(argv[i], "--")) {
            i++;
            break;
        }
        if (strcmp(argv[i], "--client") != 0) {
            fprintf(stderr, "connleak explain: unknown option %.60s; connleak explain --help says more\n", argv[i]);
            return EXIT_USAGE;
        }
        if (++i == argc) {
            fputs("connleak explain: --client needs a name\n", stderr);
            return EXIT_USAGE;
        }
        if (!parse_client(argv[i], &client)) return EXIT_USAGE;
    }
    if (i == argc) {
        list_all();
        return EXIT_FINE;
    }
    char *text = joined(argc - i, argv + i);
    int code = *text && explain_text(text, client) ? EXIT_FINE : unknown(text);
    free(text);
    return code;
}
