/* What clients are written with, told by the beginning of their User-Agent: one row a stack.
 *
 * X(symbol, name, prefix, text)
 *   prefix  what a User-Agent of it begins with; "" where it sends none of its own
 * The first row whose prefix fits is taken. */

X(UNKNOWN, "unknown", "", "a client that does not say")
X(GO, "go", "Go-http-client/", "Go net/http")
X(JDK, "jdk", "Java-http-client/", "Java, java.net.http")
X(APACHE, "apache-httpclient", "Apache-HttpClient/", "Java, Apache HttpClient")
X(OKHTTP, "okhttp", "okhttp/", "Java and Kotlin, OkHttp")
X(JDK_URL, "jdk-url", "Java/", "Java, HttpURLConnection")
X(REQUESTS, "requests", "python-requests/", "Python requests")
X(URLLIB3, "urllib3", "python-urllib3/", "Python urllib3")
X(HTTPX, "httpx", "python-httpx/", "Python httpx")
X(AIOHTTP, "aiohttp", "Python/", "Python aiohttp")
X(URLLIB, "urllib", "Python-urllib/", "Python urllib.request")
X(NODE, "node", "node", "Node fetch and http")
X(UNDICI, "undici", "undici", "Node undici")
X(AXIOS, "axios", "axios/", "Node axios")
X(DOTNET, "dotnet", ".NET", ".NET HttpClient")
X(CURL, "curl", "curl/", "curl")
X(WGET, "wget", "Wget/", "wget")
X(AB, "ab", "ApacheBench/", "ApacheBench")
