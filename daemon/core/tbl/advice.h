/* What to change, by kind of finding and by what the client is written with: one row for each pair that
 * has words of its own.
 *
 * X(kind, stack, text)
 *   text  names of the stack's own API; defaults are named with the version where they changed
 *
 * Rows of a kind stand together, UNKNOWN first: the general text, for every client without a row.
 * finding_advice() knows which kinds share the rows of another. */

X(EARLY_BODY_CLOSE, UNKNOWN,
  "Read every response body to its end before closing it, above all on the paths that look at the status alone: "
  "404s and 500s have bodies too. Read at most as much as is cheaper than a new connection (256 KiB, say); to give "
  "up a huge body is right.")
X(EARLY_BODY_CLOSE, GO,
  "defer resp.Body.Close() is not enough: io.Copy(io.Discard, io.LimitReader(resp.Body, 256<<10)) before it, on "
  "every path, errors too. json.Decoder.Decode stops before the end; read on after it. Go 1.27 drains at Close by "
  "itself, up to 256 KiB and 50 ms, where Content-Length is not larger.")
X(EARLY_BODY_CLOSE, JDK,
  "Use BodyHandlers.ofString(), ofByteArray() or, for a body nobody wants, BodyHandlers.discarding(): they read to "
  "the end. An InputStream from BodyHandlers.ofInputStream() must be read to its end before close().")
X(EARLY_BODY_CLOSE, APACHE,
  "EntityUtils.consume(response.getEntity()) before response.close(): close() alone drops the connection. In 5.x, "
  "execute(request, handler) consumes the entity when the handler returns.")
X(EARLY_BODY_CLOSE, OKHTTP,
  "Read the body to its end, with response.body().string() for one, before response.close(): close() drains for 100 "
  "ms at most.")
X(EARLY_BODY_CLOSE, JDK_URL,
  "Read getInputStream() to its end, and for a status of 400 and above getErrorStream(), then close() the stream; "
  "do not call disconnect(). What is left at close() is drained in the background only up to "
  "http.KeepAlive.remainingData (512 KiB).")
X(EARLY_BODY_CLOSE, REQUESTS,
  "With stream=True read response.content, or iter_content() to its end, before leaving the with block: "
  "response.close() with bytes unread drops the connection. Where only the head is wanted, use requests.head().")
X(EARLY_BODY_CLOSE, URLLIB3,
  "With preload_content=False call response.drain_conn() and then response.release_conn(); response.close() drops "
  "the connection.")
X(EARLY_BODY_CLOSE, HTTPX,
  "In with client.stream(...) call response.read() (await response.aread()) or read iter_bytes() to its end before "
  "the block is left: leaving it with bytes unread closes the connection.")
X(EARLY_BODY_CLOSE, AIOHTTP,
  "await response.read() before the async with block is left, on errors too: leaving it, response.release() and "
  "raise_for_status() before the whole body has come close the connection.")
X(EARLY_BODY_CLOSE, URLLIB,
  "Read the response to its end; yet urllib.request asks for Connection: close on every request and never reuses a "
  "connection: use http.client, urllib3 or requests.Session.")
X(EARLY_BODY_CLOSE, NODE,
  "fetch: await response.arrayBuffer() or text() on every path; response.body.cancel() gives the connection up. "
  "http: response.resume() where nobody reads; response.destroy() and request.destroy() give it up.")
X(EARLY_BODY_CLOSE, UNDICI,
  "await body.dump() where the body is not wanted, or await body.text(); body.destroy(), an abort signal and "
  "fetch's body.cancel() give the connection up, and so does dump() beyond its limit.")
X(EARLY_BODY_CLOSE, AXIOS,
  "With responseType: 'stream' call response.data.resume() where nobody reads it; data.destroy(), an abort signal "
  "and maxContentLength give the connection up.")
X(EARLY_BODY_CLOSE, DOTNET,
  "With HttpCompletionOption.ResponseHeadersRead read the content to its end before Dispose(): that drains only up "
  "to SocketsHttpHandler.MaxResponseDrainSize (1 MiB) and ResponseDrainTimeout (2 s).")
X(EARLY_BODY_CLOSE, CURL,
  "curl gives up a body when its reader goes away (curl | head, grep -q), at --max-time and at --max-filesize. Ask "
  "with -I for the head alone, with -r for a part, or let the pipe read to the end.")
X(EARLY_BODY_CLOSE, WGET,
  "wget gives up a body when the reader of -O - goes away. Use --spider to ask whether something is there.")

X(RST_UNREAD_DATA, UNKNOWN,
  "Read what was received before closing the socket. Where a whole process ends with responses open, let it finish "
  "or cancel its requests first; see early_body_close and body_not_closed for which of the two it is.")

X(BODY_NOT_CLOSED, UNKNOWN,
  "Close every response on every path, and read it first; a response kept in a variable, a channel or a cache keeps "
  "its connection. Which status it happens on is in by_status: it is mostly the error path.")
X(BODY_NOT_CLOSED, GO,
  "defer resp.Body.Close() directly behind the check of err, before the status is looked at; io.Copy(io.Discard, "
  "resp.Body) before it, so that the connection can be used again. The linter bodyclose finds the places; a context "
  "with a deadline bounds what is left.")
X(BODY_NOT_CLOSED, JDK,
  "Close the InputStream or Stream of BodyHandlers.ofInputStream() and ofLines() in try-with-resources, or use "
  "ofString() or discarding(), which hold nothing.")
X(BODY_NOT_CLOSED, APACHE,
  "try (CloseableHttpResponse r = client.execute(request)) { EntityUtils.consume(r.getEntity()); } on every path; "
  "or, in 5.x, execute(request, handler).")
X(BODY_NOT_CLOSED, OKHTTP,
  "try (Response r = call.execute()) { ... }, in enqueue() callbacks too: OkHttp's own warning \"A connection to "
  "... was leaked\" comes only with garbage collection.")
X(BODY_NOT_CLOSED, JDK_URL,
  "Read and close getInputStream(), and getErrorStream() for a status of 400 and above: asking for the status alone "
  "leaves the body where it is.")
X(BODY_NOT_CLOSED, REQUESTS,
  "With stream=True: with session.get(url, stream=True) as response, and read response.content in it. Without "
  "stream=True the body is read at once and nothing is held.")
X(BODY_NOT_CLOSED, URLLIB3,
  "With preload_content=False read the response to its end, or call response.drain_conn(), and then "
  "response.release_conn(), in finally.")
X(BODY_NOT_CLOSED, HTTPX,
  "client.stream(...) only as a with block; after client.send(request, stream=True) read it and call "
  "response.close() (await response.aclose()) in finally.")
X(BODY_NOT_CLOSED, AIOHTTP,
  "async with session.get(url) as response, and await response.read() in it; without the block call "
  "response.release() in finally. Session and responses that are dropped wait for garbage collection.")
X(BODY_NOT_CLOSED, URLLIB,
  "with urllib.request.urlopen(url) as response, and response.read() in it; HTTPError is a response too and has to "
  "be closed.")
X(BODY_NOT_CLOSED, NODE,
  "fetch: read the body, or await response.body?.cancel(), on every path; garbage collection does it only some "
  "time. http: response.resume() where the body is not read.")
X(BODY_NOT_CLOSED, UNDICI,
  "await body.dump() on every path that does not read the body: an unread body keeps its connection, and with it "
  "one of Agent's connections.")
X(BODY_NOT_CLOSED, AXIOS,
  "With responseType: 'stream' read response.data or call resume() on it, for errors too: error.response.data is a "
  "stream as well.")
X(BODY_NOT_CLOSED, DOTNET,
  "using var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead): what is not "
  "disposed keeps its connection until it is collected.")
X(BODY_NOT_CLOSED, CURL,
  "The reader of curl's output has stopped reading, so curl waits with the rest: see what it pipes into, or set "
  "--max-time.")

X(IDLE_CAP_CHURN, UNKNOWN,
  "Let the client keep as many idle connections per host as requests run at a time; 'sufficient' in the evidence is "
  "the limit that would have been enough.")
X(IDLE_CAP_CHURN, GO,
  "Set Transport.MaxIdleConnsPerHost (2 unless set) to the number of requests that run at a time, MaxIdleConns (100 "
  "in DefaultTransport) to the sum over all hosts; begin with http.DefaultTransport.(*http.Transport).Clone().")
X(IDLE_CAP_CHURN, JDK,
  "jdk.httpclient.connectionPoolSize is set too low; its default, 0, keeps all idle connections.")
X(IDLE_CAP_CHURN, APACHE,
  "Raise setMaxConnPerRoute (4.x: 2, 5.x: 5) and setMaxConnTotal (4.x: 20, 5.x: 25): at the total, idle connections "
  "to other hosts are closed.")
X(IDLE_CAP_CHURN, OKHTTP,
  "OkHttpClient.Builder.connectionPool(new ConnectionPool(n, 5, TimeUnit.MINUTES)): five idle connections are kept "
  "unless set, over all hosts.")
X(IDLE_CAP_CHURN, JDK_URL,
  "-Dhttp.maxConnections=n: five idle connections per host are kept unless set.")
X(IDLE_CAP_CHURN, REQUESTS,
  "session.mount('https://', HTTPAdapter(pool_maxsize=n)), and the same for 'http://': ten are kept per host unless "
  "set. urllib3 logs \"Connection pool is full, discarding connection\" each time.")
X(IDLE_CAP_CHURN, URLLIB3,
  "PoolManager(maxsize=n): one connection per host is kept unless set; block=True makes threads wait instead of "
  "dialing.")
X(IDLE_CAP_CHURN, HTTPX,
  "httpx.Client(limits=httpx.Limits(max_keepalive_connections=n)): twenty are kept unless set, over all hosts.")
X(IDLE_CAP_CHURN, NODE,
  "new http.Agent({keepAlive: true, maxFreeSockets: n}): 256 free sockets per host are kept unless set.")
X(IDLE_CAP_CHURN, AXIOS,
  "axios.create({httpAgent: new http.Agent({keepAlive: true, maxFreeSockets: n})}), and httpsAgent likewise.")

X(TRANSPORT_PER_REQUEST, UNKNOWN,
  "Make one client (session, transport, agent) when the program starts, and use it for all requests; it is the "
  "pool.")
X(TRANSPORT_PER_REQUEST, GO,
  "One http.Client, with one Transport, for the whole program: a Transport is the pool. &http.Transport{} in a "
  "function makes a pool for each call, whose idle connections stay for ever, since IdleConnTimeout is 0 unless "
  "set. Take http.DefaultTransport.(*http.Transport).Clone() once.")
X(TRANSPORT_PER_REQUEST, JDK,
  "One HttpClient for the whole program: HttpClient.newHttpClient() makes a pool, with a thread, for each call.")
X(TRANSPORT_PER_REQUEST, APACHE,
  "One CloseableHttpClient for the whole program: HttpClients.createDefault() makes a pool for each call. Closing "
  "the client closes its pool.")
X(TRANSPORT_PER_REQUEST, OKHTTP,
  "One OkHttpClient for the whole program; client.newBuilder() for a variant shares its pool.")
X(TRANSPORT_PER_REQUEST, JDK_URL,
  "Do not call disconnect(): it closes the connection, which would have gone back to the pool of the JVM.")
X(TRANSPORT_PER_REQUEST, REQUESTS,
  "One requests.Session() for all requests: requests.get() and its like make a session for each call and close it.")
X(TRANSPORT_PER_REQUEST, URLLIB3,
  "One PoolManager for the whole program.")
X(TRANSPORT_PER_REQUEST, HTTPX,
  "One httpx.Client() (AsyncClient) for all requests: httpx.get() and its like make a client for each call and "
  "close it.")
X(TRANSPORT_PER_REQUEST, AIOHTTP,
  "One ClientSession for the whole program, not an async with ClientSession() for each request, and a TCPConnector "
  "without force_close. Through an HTTP proxy, aiohttp 3.8 closes each connection after its response whatever one "
  "does.")
X(TRANSPORT_PER_REQUEST, URLLIB,
  "urllib.request never reuses a connection: use http.client, urllib3 or requests.Session.")
X(TRANSPORT_PER_REQUEST, NODE,
  "One http.Agent({keepAlive: true}), given to every request; Node before 19 has keepAlive off in its global agent. "
  "For fetch, one dispatcher.")
X(TRANSPORT_PER_REQUEST, UNDICI,
  "One Agent (or Pool) for the whole program: setGlobalDispatcher(new Agent(...)), not a new Client for each "
  "request.")
X(TRANSPORT_PER_REQUEST, AXIOS,
  "One axios.create({httpAgent: new http.Agent({keepAlive: true}), httpsAgent: ...}) for all requests; Node before "
  "19 keeps no connection without.")
X(TRANSPORT_PER_REQUEST, DOTNET,
  "One static HttpClient with SocketsHttpHandler.PooledConnectionLifetime set, or IHttpClientFactory: a new "
  "HttpClient for each request makes a pool for each, and Dispose() closes it.")
X(TRANSPORT_PER_REQUEST, CURL,
  "Each call of curl is a client of its own. Give one call several URLs (curl URL URL ..., --next, -K file), "
  "without -Z, which opens several connections at a time; or use libcurl with one handle.")
X(TRANSPORT_PER_REQUEST, WGET,
  "Each call of wget is a client of its own: give one call all URLs, or a list with -i.")

X(KEEPALIVES_DISABLED, UNKNOWN,
  "Find what sets Connection: close: an option of the client, a header in a list of defaults, or a proxy in between "
  "(nginx: proxy_http_version 1.1 and proxy_set_header Connection \"\").")
X(KEEPALIVES_DISABLED, GO,
  "Transport.DisableKeepAlives, Request.Close = true, or Header.Set(\"Connection\", \"close\"): take it out. Where "
  "it was put in against EOF or connection reset errors, see server_closes_idle for their cause.")
X(KEEPALIVES_DISABLED, JDK,
  "Connection is a restricted header: something allows it with jdk.httpclient.allowRestrictedHeaders and sets it.")
X(KEEPALIVES_DISABLED, APACHE,
  "A header Connection: close, or setConnectionReuseStrategy with a strategy that never reuses: take it out.")
X(KEEPALIVES_DISABLED, OKHTTP,
  "A header or an interceptor sets Connection: close: take it out.")
X(KEEPALIVES_DISABLED, JDK_URL,
  "-Dhttp.keepAlive=false, or setRequestProperty(\"Connection\", \"close\"): take it out.")
X(KEEPALIVES_DISABLED, REQUESTS,
  "headers={'Connection': 'close'}, in a call or in session.headers: take it out.")
X(KEEPALIVES_DISABLED, HTTPX,
  "headers={'Connection': 'close'}, in a call or in the client: take it out.")
X(KEEPALIVES_DISABLED, AIOHTTP,
  "headers={'Connection': 'close'}, in a call or in the session: take it out.")
X(KEEPALIVES_DISABLED, URLLIB,
  "urllib.request says Connection: close on every request, and cannot do otherwise: use http.client, urllib3 or "
  "requests.Session.")
X(KEEPALIVES_DISABLED, NODE,
  "An http.Agent without keepAlive: true says Connection: close; so does the global one before Node 19, and agent: "
  "false.")
X(KEEPALIVES_DISABLED, UNDICI,
  "reset: true in the options of a request, or pipelining: 0 in those of a client: take it out.")
X(KEEPALIVES_DISABLED, AXIOS,
  "Before Node 19 give axios an httpAgent and an httpsAgent with keepAlive: true; else look for a header "
  "Connection: close.")
X(KEEPALIVES_DISABLED, DOTNET,
  "request.Headers.ConnectionClose = true, or DefaultRequestHeaders.ConnectionClose: take it out.")
X(KEEPALIVES_DISABLED, CURL,
  "-H 'Connection: close' or -0 (HTTP/1.0), in the call or in .curlrc: take it out.")
X(KEEPALIVES_DISABLED, WGET,
  "--no-http-keep-alive, in the call or as http_keep_alive = off in .wgetrc: take it out.")
X(KEEPALIVES_DISABLED, AB,
  "Give ab the option -k.")

X(SERVER_DISABLES_KEEPALIVE, UNKNOWN,
  "To the server's owner: keep-alive is off, or every answer asks for a close. nginx: keepalive_timeout 0; Apache "
  "httpd: KeepAlive Off; Node: server.keepAliveTimeout, or a handler that sets Connection: close; Go: "
  "Server.SetKeepAlivesEnabled(false); gunicorn: sync workers never keep one, gthread does. A balancer in between "
  "may be the one that says it.")

X(SERVER_LIMITS_REQUESTS, UNKNOWN,
  "To the server's owner: raise the number of requests per connection. nginx: keepalive_requests (1000; before "
  "1.19.10: 100); Apache httpd: MaxKeepAliveRequests (100); Tomcat: maxKeepAliveRequests (100); Envoy: "
  "max_requests_per_connection. A large number is harmless and lets balancers move clients on.")

X(HTTP10_NO_KEEPALIVE, UNKNOWN,
  "Let both ends speak HTTP/1.1. A proxy in between is often the one that does not: nginx before 1.29.7 asks its "
  "upstreams with HTTP/1.0 unless proxy_http_version 1.1 and proxy_set_header Connection \"\" are set.")
X(HTTP10_NO_KEEPALIVE, CURL,
  "-0 or --http1.0, in the call or in .curlrc: take it out.")
X(HTTP10_NO_KEEPALIVE, AB,
  "ab speaks HTTP/1.0: give it the option -k.")

X(SERVER_CLOSES_IDLE, UNKNOWN,
  "Set the client's idle timeout below the server's, as learned (idle_timeout_ms), so that the client closes first. "
  "Or, to the server's owner, raise it above the client's: nginx keepalive_timeout (75 s), Node "
  "server.keepAliveTimeout (5 s), Go Server.IdleTimeout (ReadTimeout unless set), gunicorn --keep-alive (2 s), "
  "uvicorn --timeout-keep-alive (5 s), Apache httpd KeepAliveTimeout (5 s), Tomcat keepAliveTimeout, AWS ALB idle "
  "timeout (60 s). Behind a balancer the server's must be longer than the balancer's.")
X(SERVER_CLOSES_IDLE, GO,
  "Set Transport.IdleConnTimeout (90 s in DefaultTransport, none in a Transport of one's own) below the server's "
  "timeout as learned. Go sends GETs again when it meets the race, POSTs not: set an Idempotency-Key where that is "
  "true of them. Or raise the server's keep-alive timeout.")
X(SERVER_CLOSES_IDLE, JDK,
  "-Djdk.httpclient.keepalive.timeout=SECONDS (30; before JDK 20: 1200) below the server's timeout as learned, or "
  "raise the server's.")
X(SERVER_CLOSES_IDLE, APACHE,
  "evictIdleConnections() below the server's timeout as learned; setValidateAfterInactivity (2 s unless set) looks "
  "before each use. Or raise the server's timeout.")
X(SERVER_CLOSES_IDLE, OKHTTP,
  "new ConnectionPool(n, SECONDS, TimeUnit.SECONDS) with less than the server's timeout as learned (5 minutes "
  "unless set); retryOnConnectionFailure(true) hides the race. Or raise the server's timeout.")
X(SERVER_CLOSES_IDLE, JDK_URL,
  "-Dhttp.keepAlive.time.server=SECONDS (5 unless the server says Keep-Alive: timeout) below the server's timeout "
  "as learned, or raise the server's.")
X(SERVER_CLOSES_IDLE, REQUESTS,
  "requests has no idle timeout; it looks whether a connection was closed before it uses it, and what is closed in "
  "that instant fails: mount HTTPAdapter(max_retries=Retry(...)), or raise the server's timeout.")
X(SERVER_CLOSES_IDLE, URLLIB3,
  "urllib3 has no idle timeout; it looks whether a connection was closed before it uses it, and what is closed in "
  "that instant fails: give Retry(...), or raise the server's timeout.")
X(SERVER_CLOSES_IDLE, HTTPX,
  "httpx.Limits(keepalive_expiry=SECONDS) (5 unless set) below the server's timeout as learned, or raise the "
  "server's.")
X(SERVER_CLOSES_IDLE, AIOHTTP,
  "TCPConnector(keepalive_timeout=SECONDS) (15 unless set) below the server's timeout as learned, or raise the "
  "server's.")
X(SERVER_CLOSES_IDLE, NODE,
  "Let the server say Keep-Alive: timeout=N, which Node's agents keep to; else set new http.Agent({keepAlive: true, "
  "timeout: MS}) below the server's timeout as learned, or raise the server's.")
X(SERVER_CLOSES_IDLE, UNDICI,
  "new Agent({keepAliveTimeout: MS}) (4 s unless the server says Keep-Alive: timeout) below the server's timeout as "
  "learned, or raise the server's.")
X(SERVER_CLOSES_IDLE, AXIOS,
  "Give an httpAgent and an httpsAgent with keepAlive: true and a timeout below the server's as learned, or raise "
  "the server's.")
X(SERVER_CLOSES_IDLE, DOTNET,
  "SocketsHttpHandler.PooledConnectionIdleTimeout (1 minute; before .NET 6: 2) below the server's timeout as "
  "learned, or raise the server's.")

X(SERVER_RESETS_IDLE, UNKNOWN,
  "Something on the way forgets idle connections: a firewall, NAT or balancer (AWS NLB: 350 s, Azure: 4 min), or "
  "the server resets them on purpose. Set the client's idle timeout below the time as learned (idle_timeout_ms), or "
  "TCP keep-alive probes that come sooner.")

X(STALE_REUSE_RACE, UNKNOWN,
  "Set the client's idle timeout some seconds below the server's, so that the client closes first; to send again is "
  "safe for idempotent requests only. The server's owner may raise its keep-alive timeout instead: see "
  "server_closes_idle.")

X(SLOW_READER, UNKNOWN,
  "Find what the client does between its reads: a slow disk or pipe, a lock, one thread for all. Read into memory "
  "first, or ask for less at a time (Range, pages).")
X(SLOW_READER, GO,
  "Nobody calls resp.Body.Read, or what it is copied to is slow: a goroutine dump (SIGQUIT, or "
  "/debug/pprof/goroutine?debug=2) shows where the reader stands.")
X(SLOW_READER, NODE,
  "The stream is paused, or what it is piped into is slow: response.resume(), or see where 'drain' is waited for; a "
  "busy event loop does not read either.")
X(SLOW_READER, CURL,
  "--limit-rate, or a slow reader of curl's output: see what it pipes into.")

X(POOL_WAIT, UNKNOWN,
  "Raise the limit of connections to the number of requests that run at a time, or find out why each is held so "
  "long: a slow server, or bodies that are not closed (body_not_closed).")
X(POOL_WAIT, GO,
  "Transport.MaxConnsPerHost: raise it to the number of requests that run at a time; 0 is no limit. One body that "
  "is never closed takes a place for ever.")
X(POOL_WAIT, APACHE,
  "Raise setMaxConnPerRoute (4.x: 2, 5.x: 5) and setMaxConnTotal (4.x: 20, 5.x: 25) to the number of requests that "
  "run at a time; a response that is not closed takes a place for ever.")
X(POOL_WAIT, OKHTTP,
  "client.dispatcher().setMaxRequestsPerHost(n): five asynchronous calls per host run at a time unless set.")
X(POOL_WAIT, REQUESTS,
  "HTTPAdapter(pool_maxsize=n, pool_block=True): raise n to the number of requests that run at a time.")
X(POOL_WAIT, URLLIB3,
  "PoolManager(maxsize=n, block=True): raise n to the number of requests that run at a time.")
X(POOL_WAIT, HTTPX,
  "httpx.Limits(max_connections=n) (100 unless set): raise it; a stream that is not closed takes a place, and "
  "PoolTimeout is what others see.")
X(POOL_WAIT, AIOHTTP,
  "TCPConnector(limit=n, limit_per_host=m) (100 and no limit unless set): raise them; a response that is not "
  "released takes a place.")
X(POOL_WAIT, NODE,
  "maxSockets of the http.Agent (no limit unless set): raise it to the number of requests that run at a time.")
X(POOL_WAIT, UNDICI,
  "connections of the Agent or Pool (no limit unless set): raise it to the number of requests that run at a time; a "
  "body that is not read takes a place.")
X(POOL_WAIT, AXIOS,
  "maxSockets of httpAgent and httpsAgent (no limit unless set): raise it to the number of requests that run at a "
  "time.")
X(POOL_WAIT, DOTNET,
  "SocketsHttpHandler.MaxConnectionsPerServer (no limit unless set; ServicePointManager's is 2): raise it to the "
  "number of requests that run at a time.")

X(REQUEST_TIMEOUT, UNKNOWN,
  "Raise the client's timeout above the time that the server takes, or make the server faster: what was given up has "
  "to be dialed again. waited_ms is how long the last one had waited. A stream that its reader has enough of, and a "
  "second request that was sent in case the first is slow, need nothing.")
X(REQUEST_TIMEOUT, GO,
  "Raise Client.Timeout, the context's deadline or Transport.ResponseHeaderTimeout, whichever ended it. "
  "Client.Timeout counts the dial, the wait for a connection and the body, too: for streams and large downloads take "
  "ResponseHeaderTimeout and a context instead. A stream that was left on purpose needs nothing.")
X(REQUEST_TIMEOUT, CURL,
  "Raise --max-time, which counts the whole transfer, the dial and the wait for an answer included; --speed-time ends "
  "only what stands still.")

X(TRUNCATED_RESPONSE, UNKNOWN,
  "To the server's owner: look for a crash, a restart, a worker killed at a time limit, or a Content-Length that is "
  "too large (computed before compression, say). A proxy in between may have run into its own timeout.")

X(EXCESS_RESPONSE_BYTES, UNKNOWN,
  "To the server's owner: Content-Length is smaller than the body: counted in characters instead of bytes, or "
  "before a filter that makes it longer; or a body was sent after HEAD, 204 or 304.")

X(UNSOLICITED_RESPONSE, UNKNOWN,
  "To the server's owner: a server that says 408 before it closes an idle connection should close without; a server "
  "that answers twice has a handler that writes behind its end. Keep the client's idle timeout below the server's.")

X(EARLY_ERROR_RESPONSE, UNKNOWN,
  "To the server's owner: read the rest of a refused request, for some time at least, before closing (nginx: "
  "lingering_close). To the client's: send Expect: 100-continue with large bodies, so that a refusal comes before "
  "them.")
X(EARLY_ERROR_RESPONSE, GO,
  "Set Expect: 100-continue in the request's header and Transport.ExpectContinueTimeout, so that a refusal comes "
  "before the body.")

X(CONNECTION_REFUSED, UNKNOWN,
  "See whether the server listens at that address and port (ss -ltn), whether its queue is full, and whether the "
  "name leads to the right machine.")

X(DIAL_FAILURES, UNKNOWN,
  "Names not found: the resolver or the name; timed out: a route, a firewall, or a server whose queue is full; TLS: "
  "the certificate, its authority, or a port that does not speak TLS. The log has the text of each.")

X(DIAL_STORM, UNKNOWN,
  "Mend what dials: the findings beside this one say why connections are not reused. Until then: a wider "
  "net.ipv4.ip_local_port_range, net.ipv4.tcp_tw_reuse=1, and more than one address of the server.")

X(TUNNEL_CHURN, UNKNOWN,
  "Keep TLS connections through the proxy open and reuse them: one client for all requests, bodies read to their "
  "end, and an idle limit as large as the number of requests that run at a time.")
X(TUNNEL_CHURN, GO,
  "One http.Client for all requests; bodies read to their end and closed; Transport.MaxIdleConnsPerHost (2 unless "
  "set) as large as the number of requests that run at a time.")
X(TUNNEL_CHURN, REQUESTS,
  "One requests.Session() for all requests, with HTTPAdapter(pool_maxsize=n).")
X(TUNNEL_CHURN, HTTPX,
  "One httpx.Client() for all requests; its idle connections go after 5 s unless Limits(keepalive_expiry=...) says "
  "otherwise.")
X(TUNNEL_CHURN, NODE,
  "An agent for the proxy that keeps connections (keepAlive: true): many proxy agents open a tunnel for each "
  "request.")
X(TUNNEL_CHURN, CURL,
  "Each call of curl opens a tunnel of its own: give one call several URLs.")
