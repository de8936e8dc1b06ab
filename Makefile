# connleak: finds HTTP connection leaks.
#
#   make            build both programs into build/
#   make run        install what is missing, build, run the daemon on its defaults
#                   (ARGS="--set proxy.listen=127.0.0.1:8888" to add options)
#   make demo       the story in some seconds: a daemon, an nginx, a good client, a leaking one
#   make test       install what is missing, build, pass every test
#
#   make deps       install the Debian packages that are missing: for run, test and demo
#   make check      the tests that need no privileges and no network: unit, prop, corpus, captures
#   make asan       C tests and scenarios under AddressSanitizer and UBSan
#   make fuzz       fuzz the parsers, each for FUZZ_TIME seconds (60): libFuzzer where clang has it,
#                   else random changes to the corpus; what is found goes to build/fuzz
#   make bench      CPU and memory: of connleakd beside HAProxy and Go, of analyze beside a loop
#                   that counts packets, beside tcptrace and tshark (minutes, and 1.7 GiB for
#                   captures in BENCH_DIR or /tmp)
#                   (BENCH="--only 1k --rounds 3" for the first: tests/bench/proxies --help;
#                   BENCH_ROUNDS=3 for the second)
#   make bench-whatif  whether the pool does what connleak whatif says: 100,000 requests (minutes)
#   make lint       clang-tidy, cppcheck, manual pages; make fmt formats the code
#   make tables     rewrite from core/tbl: conf/connleakd.conf, the lists in connleakd.conf(5) and connleak(7)
#   make install    into DESTDIR and PREFIX; make uninstall takes it away again
#   make clean      remove build/
#
# Variables:
#   V=1             print the commands
#   SAN=1           build with AddressSanitizer and UBSan (objects in build/san)
#   DEBUG=1         no optimisation, assertions that cost time
#   WERROR=1        warnings are errors (CI=1 implies it)
#   PREFIX, DESTDIR where `make install` puts things (/usr/local, nothing)
#   SYSCONFDIR      where the configuration goes (/etc if PREFIX is /usr, else PREFIX/etc)
#   UNITDIR         where the systemd units go (PREFIX/lib/systemd/system)
#   LLHTTP          folder of llhttp's C sources (Debian: node-llhttp), used where
#                   no libllhttp is installed; LLHTTP_INC its header's folder

PREFIX  ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= $(if $(filter /usr,$(PREFIX)),/etc,$(PREFIX)/etc)
UNITDIR    ?= $(PREFIX)/lib/systemd/system
JOBS       ?= $(shell nproc 2>/dev/null || echo 2)
LLHTTP     ?= /usr/share/llhttp
LLHTTP_INC ?= /usr/share/include/llhttp
CC      ?= cc
B       := build$(if $(LIBFUZZER),/fuzz)$(if $(SAN),/san)$(if $(DEBUG),/debug)
Q       := $(if $(V),,@)
VERSION := 0.1.0

WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes $(if $(CI)$(WERROR),-Werror)
HARDEN  := $(if $(SAN)$(DEBUG),,-D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fPIE)
OPT     := $(if $(DEBUG)$(SAN),-O1 -fno-omit-frame-pointer,-O2)
comma   := ,
SANFLAGS := $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined) $(if $(LIBFUZZER),-fsanitize=fuzzer-no-link)
CFLAGS  ?= -g
ALL_CFLAGS  = -std=gnu11 $(OPT) $(WARN) $(HARDEN) $(SANFLAGS) -MMD -MP -Idaemon -Iprobes -DCONNLEAK_VERSION='"$(VERSION)"' $(CFLAGS)
ALL_LDFLAGS = $(SANFLAGS) $(if $(SAN)$(DEBUG),,-pie -Wl,-z,relro,-z,now) $(LDFLAGS)

# One library a room; arrows go down only (README, "The map").
ROOMS := core whatif log record io admin
PROBES := wire capture crosscheck sockdiag replay explain trace
room_src  = $(wildcard daemon/$(1)/*.c)
probe_src = $(wildcard probes/$(1)/*.c)
obj       = $(patsubst %.c,$(B)/%.o,$(1))

CONF_LIBS   := -linih -lcrypt
DAEMON_LIBS := -levent -levent_extra -levent_openssl -lssl -lcrypto -ljansson $(CONF_LIBS) -lsystemd -lpthread
TRACE_LIBS  := $(shell pkg-config --libs libtracefs 2>/dev/null || echo -ltracefs -ltraceevent)
TRACE_CFLAGS := $(shell pkg-config --cflags libtracefs 2>/dev/null || echo -I/usr/include/tracefs -I/usr/include/traceevent)
PROBE_LIBS  := -levent_core -lpcap -ljansson -lz $(TRACE_LIBS) -lpthread

HAVE_LIBLLHTTP := $(shell pkg-config --exists libllhttp 2>/dev/null && echo 1)
ifeq ($(HAVE_LIBLLHTTP),1)
LLHTTP_OBJ :=
LLHTTP_CFLAGS := $(shell pkg-config --cflags libllhttp)
DAEMON_LIBS += $(shell pkg-config --libs libllhttp)
PROBE_LIBS  += $(shell pkg-config --libs libllhttp)
CORE_LIBS   := $(shell pkg-config --libs libllhttp)
else
LLHTTP_OBJ := $(B)/llhttp/llhttp.o $(B)/llhttp/http.o $(B)/llhttp/api.o
LLHTTP_CFLAGS := -I$(LLHTTP_INC) -DLLHTTP_STRICT_MODE=1
endif

LIBCORE   := $(B)/libcore.a
LIBWIRE   := $(B)/libwire.a
LIBRECORD := $(B)/librecord.a
LIBWHATIF := $(B)/libwhatif.a
LIBIO     := $(B)/libio.a
LIBSOCKDIAG := $(B)/libsockdiag.a
LIBCONF   := $(B)/libconf.a

.PHONY: all help deps run demo test check asan fuzz fuzzers bench bench-whatif lint fmt tables install uninstall clean tests
all: $(B)/connleakd $(B)/connleak

$(LIBCORE):   $(call obj,$(call room_src,core)) $(LLHTTP_OBJ)
$(LIBWHATIF): $(call obj,$(call room_src,whatif))
$(LIBRECORD): $(call obj,$(call room_src,record) $(call room_src,log))
$(LIBCONF):   $(call obj,daemon/conf.c daemon/conf_values.c daemon/conf_check.c daemon/access.c)
$(LIBIO):     $(call obj,$(call room_src,io))
$(LIBWIRE):   $(call obj,$(call probe_src,wire))
$(LIBSOCKDIAG): $(call obj,$(call probe_src,sockdiag))
$(B)/%.a:
	@echo "  AR      $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/connleakd: $(call obj,daemon/main.c daemon/causes.c daemon/probe.c $(call room_src,admin)) $(LIBSOCKDIAG) $(LIBIO) $(LIBCONF) $(LIBRECORD) $(LIBWHATIF) $(LIBCORE)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(DAEMON_LIBS)

$(B)/connleak: $(call obj,$(wildcard probes/*.c) $(call probe_src,capture) $(call probe_src,crosscheck) $(call probe_src,trace) $(call probe_src,whatif) $(call probe_src,replay) $(call probe_src,explain) $(call probe_src,run)) $(LIBSOCKDIAG) $(LIBWIRE) $(LIBRECORD) $(LIBWHATIF) $(LIBCORE)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PROBE_LIBS)

$(B)/daemon/core/h1.o: ALL_CFLAGS += $(LLHTTP_CFLAGS)
$(B)/probes/trace/%.o: ALL_CFLAGS += $(TRACE_CFLAGS)
$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<
$(B)/llhttp/%.o: $(LLHTTP)/%.c Makefile
	@mkdir -p $(@D)
	@echo "  CC      llhttp/$(notdir $<)"
	$(Q)$(CC) -std=gnu11 $(OPT) $(HARDEN) $(SANFLAGS) -w $(CFLAGS) $(LLHTTP_CFLAGS) -c -o $@ $<

# Tests: C programs that print TAP and link the pure rooms only.
TESTS := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/t_*.c tests/prop/t_*.c))
$(B)/tests/%: $(B)/tests/%.o $(LIBCONF) $(LIBWIRE) $(LIBRECORD) $(LIBWHATIF) $(LIBCORE)
	@echo "  LD      $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(LIBCONF) $(LIBWIRE) $(LIBRECORD) $(LIBWHATIF) $(LIBCORE) $(CORE_LIBS) $(CONF_LIBS) $(TEST_LIBS) -ljansson -lpthread
$(B)/tests/%.o: ALL_CFLAGS += -Itests/tools
$(B)/tests/unit/t_kernel_counters: $(B)/daemon/io/kernel_counters.o
$(patsubst %.c,$(B)/%,$(wildcard tests/unit/t_vectors_*.c)): $(addprefix $(B)/tests/tools/,sim.o sim_net.o sim_caller.o)
$(B)/tests/unit/t_pool: ALL_LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
$(B)/tests/prop/t_pool_model: $(addprefix $(B)/tests/prop/,random_driver.o naive_pool.o)
ADMIN_TESTS := $(addprefix $(B)/tests/unit/,t_admin t_admin_lists t_admin_web t_admin_findings t_admin_events)
# Without what runs the pool's own code, since theirs is made up.
$(ADMIN_TESTS): $(call obj,$(filter-out daemon/admin/whatif.c,$(call room_src,admin))) $(B)/daemon/io/kernel_counters.o
$(ADMIN_TESTS): TEST_LIBS := -levent
$(B)/tests/unit/t_admin_target $(B)/tests/fuzz/f_admin_target: $(B)/daemon/admin/target.o

TRACE_TESTS := $(addprefix $(B)/tests/,unit/t_trace unit/t_trace_format fuzz/f_trace)
$(TRACE_TESTS): $(call obj,$(addprefix probes/trace/,fold.c format.c))
$(TRACE_TESTS): TEST_LIBS := $(TRACE_LIBS)
$(TRACE_TESTS:=.o): ALL_CFLAGS += $(TRACE_CFLAGS)

# Fuzz targets: plain programs that take files, or libFuzzer's (tests/fuzz/onefile.c says how).
FUZZERS := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/f_*.c))
$(FUZZERS): $(if $(LIBFUZZER),,$(B)/tests/fuzz/onefile.o)
$(FUZZERS): ALL_LDFLAGS += $(if $(LIBFUZZER),-fsanitize=fuzzer)

tests: $(TESTS) $(FUZZERS) $(B)/tests/tools/tables_text $(B)/tests/prop/pool_script

# Readers of captures, for the tests of them; libpcap is for live.o alone.
CAPTURE_READERS := $(call obj,$(addprefix probes/capture/,link.c bytes.c file.c capture.c live.c))
CAPTURE_TESTS   := $(addprefix $(B)/tests/,unit/t_link unit/t_capture_file fuzz/f_link fuzz/f_capture)
$(CAPTURE_TESTS): $(CAPTURE_READERS)
$(CAPTURE_TESTS): TEST_LIBS := -lpcap -lz
$(addprefix $(B)/tests/,unit/t_sockdiag fuzz/f_sockdiag): $(call obj,$(addprefix probes/sockdiag/,sockdiag.c answer.c owner.c verdict.c))

# All words, for the manual and for their test.
$(B)/tests/tools/tables_text $(B)/tests/unit/t_words: $(B)/probes/explain/words.o

$(B)/tests/unit/t_capture_workload: $(B)/probes/capture/workload.o
# What of replay does no I/O.
$(addprefix $(B)/tests/,unit/t_replay unit/t_replay_schedule fuzz/f_replay): $(call obj,$(addprefix probes/replay/,plan.c schedule.c witness.c from_workload.c) probes/capture/facts.c)

fuzzers: $(FUZZERS)

# --- what is needed ---

DEPS_run  := gcc libc6-dev make pkg-config libevent-dev libssl-dev libjansson-dev libinih-dev libcrypt-dev \
             libsystemd-dev libpcap-dev zlib1g-dev libtracefs-dev libtraceevent-dev node-llhttp
DEPS_test := $(DEPS_run) golang-go python3 python3-pytest openssl curl nginx tcpdump iproute2 mandoc binutils \
             python3-requests python3-httpx python3-aiohttp nodejs node-undici
DEPS_demo := $(DEPS_run) python3 nginx tcpdump
DEPS_bench := $(DEPS_run) python3 nginx haproxy wrk golang-go strace tcpdump tcptrace tshark
DEPS_lint := $(DEPS_run) clang-tidy clang-format cppcheck mandoc
PC_MODULES := libevent libevent_openssl openssl jansson inih libcrypt libsystemd libpcap zlib libtracefs libtraceevent

deps:
	@tests/tools/deps $(DEPS_test) -- $(PC_MODULES)
deps-%:
	@tests/tools/deps $(DEPS_$*) -- $(PC_MODULES)

run: deps-run
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@echo "  RUN     $(B)/connleakd $(ARGS)   (Ctrl-C stops it)"
	@exec $(B)/connleakd $(ARGS)

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

# --- tests ---

test: deps-test
	@$(MAKE) --no-print-directory -j$(JOBS) all tests
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=1 tests
	@tests/run

check:
	@$(MAKE) --no-print-directory -j$(JOBS) all tests
	@tests/run --unprivileged

asan:
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=1 all tests
	@tests/run --asan

demo: deps-demo all
	@tests/tools/demo $(B)

bench: deps-bench all
	@echo "== connleakd beside HAProxy and Go's ReverseProxy =="
	@tests/bench/proxies $(BENCH) $(B)
	@echo
	@echo "== connleak analyze beside a loop that counts packets =="
	@tests/bench/captures $(BENCH_ROUNDS)

bench-whatif: deps-bench all
	@tests/bench/whatif $(B)

FUZZ_TIME ?= 60
fuzz:
	@MAKE="$(MAKE) --no-print-directory -j$(JOBS)" tests/fuzz/run $(FUZZ_TIME)

# --- care ---

SOURCES  = $(wildcard daemon/*.c daemon/*/*.c probes/*.c probes/*/*.c)
FORMATTED = $(filter-out daemon/core/tbl/%,$(wildcard daemon/*.[ch] daemon/*/*.[ch] probes/*.[ch] probes/*/*.[ch] tests/*/*.[ch]))
MANUALS  = $(wildcard daemon/*.[1-9] probes/*.[1-9] conf/*.[1-9])

# Left to clang's analyzer, which follows values better; and macros that cppcheck must see.
CPPCHECK_SUPPRESS := --suppress=missingIncludeSystem --suppress=uninitvar --suppress=zerodivcond \
    --suppress=nullPointer
CPPCHECK_QUEUES    = --include=$(shell $(CC) -M -x c -include sys/queue.h /dev/null | tr ' ' '\n' | grep sys/queue.h)

lint: deps-lint
	@echo "  CPPCHECK"
	$(Q)cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr --enable=warning,performance,portability \
	    $(CPPCHECK_SUPPRESS) $(CPPCHECK_QUEUES) -Idaemon -Iprobes daemon probes
	@echo "  TIDY"
	$(Q)printf '%s\n' $(SOURCES) | xargs -P$(JOBS) -n4 sh -c 'clang-tidy --quiet --warnings-as-errors="*" "$$@" -- \
	    -std=gnu11 -Idaemon -Iprobes -DCONNLEAK_VERSION=\"$(VERSION)\" $(LLHTTP_CFLAGS) $(TRACE_CFLAGS) 2>/dev/null' tidy
	@echo "  MANDOC"
	$(Q)mandoc -Tlint -Wwarning $(MANUALS)

fmt: deps-lint
	$(Q)clang-format -i $(FORMATTED)

# What is made from core/tbl: the sample, and in manual pages what stands between ".\" LIST begin" and "end".
list_into = $(Q)$< $(1) > $(B)/$(1).mdoc && sed -i -e '/^\.\\" $(1) begin/,/^\.\\" $(1) end/{/^\.\\" $(1) begin/{p;r $(B)/$(1).mdoc' \
    -e '};/^\.\\" $(1) end/!d}' $(2)
tables: $(B)/tests/tools/tables_text
	$(Q)$< sample > conf/connleakd.conf.new && mv conf/connleakd.conf.new conf/connleakd.conf
	$(call list_into,params,conf/connleakd.conf.5)
	$(call list_into,words,daemon/connleak.7)

# --- installation ---

INSTALL := install
SCHEMAS := $(wildcard daemon/record/schema/*.json)
install: all
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 \
	    $(DESTDIR)$(PREFIX)/share/man/man7 $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)$(PREFIX)/share/connleak/schema \
	    $(DESTDIR)$(SYSCONFDIR)/connleak $(DESTDIR)$(UNITDIR)
	$(INSTALL) -m 755 $(B)/connleakd $(B)/connleak $(DESTDIR)$(PREFIX)/bin
	$(INSTALL) -m 644 probes/connleak.1 $(DESTDIR)$(PREFIX)/share/man/man1
	$(INSTALL) -m 644 conf/connleakd.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5
	$(INSTALL) -m 644 daemon/connleak.7 $(DESTDIR)$(PREFIX)/share/man/man7
	$(INSTALL) -m 644 daemon/connleakd.8 $(DESTDIR)$(PREFIX)/share/man/man8
	$(INSTALL) -m 644 $(SCHEMAS) $(DESTDIR)$(PREFIX)/share/connleak/schema
	@if cmp -s conf/connleakd.conf $(DESTDIR)$(SYSCONFDIR)/connleak/connleakd.conf; then :; \
	elif [ -e $(DESTDIR)$(SYSCONFDIR)/connleak/connleakd.conf ]; then \
	    echo "$(DESTDIR)$(SYSCONFDIR)/connleak/connleakd.conf is kept; this version's is beside it, .new"; \
	    $(INSTALL) -m 644 conf/connleakd.conf $(DESTDIR)$(SYSCONFDIR)/connleak/connleakd.conf.new; \
	else $(INSTALL) -m 644 conf/connleakd.conf $(DESTDIR)$(SYSCONFDIR)/connleak/connleakd.conf; fi
	for u in connleakd.service connleakd.socket connleakd-admin.socket; do \
	    sed -e 's|@PREFIX@|$(PREFIX)|g; s|@SYSCONFDIR@|$(SYSCONFDIR)|g' systemd/$$u.in > $(DESTDIR)$(UNITDIR)/$$u && \
	    chmod 644 $(DESTDIR)$(UNITDIR)/$$u || exit 1; done

# The configuration stays: it may have been edited.
uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/connleakd bin/connleak share/man/man1/connleak.1 \
	    share/man/man5/connleakd.conf.5 share/man/man7/connleak.7 share/man/man8/connleakd.8) \
	    $(addprefix $(DESTDIR)$(PREFIX)/share/connleak/schema/,$(notdir $(SCHEMAS))) \
	    $(addprefix $(DESTDIR)$(UNITDIR)/,connleakd.service connleakd.socket connleakd-admin.socket)

clean:
	$(Q)rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.SECONDARY:
