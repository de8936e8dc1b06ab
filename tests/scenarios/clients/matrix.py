"""Python's clients of the matrix: requests, httpx, aiohttp.

    python3 matrix.py requests|httpx|aiohttp < PLAN

PLAN holds jobs, a JSON object a line, as matrix.go describes them; each job's tag is printed when it is done. What
is held stays held until stdin ends.
"""

import asyncio
import json
import os
import ssl
import sys
import threading
import time

HELD = []   # responses that a program forgot in a list


def report(job, wrong):
    line = json.dumps({"tag": job["tag"], "wrong": sorted({f"{type(e).__name__}: {e}" for e in wrong})}) + "\n"
    os.write(1, line.encode())   # threads do not mix in one write


def whole(job, body):
    if len(body) != job["size"]:
        raise ValueError(f"{len(body)} bytes of {job['size']}")


def rounds(job):
    for i, n in enumerate(job["rounds"]):
        yield n, f"{job['url']}?round={i}&of={n}"


# --- requests and httpx: threads ---


class Requests:
    def __init__(self, job):
        import requests
        self.job, self.requests = job, requests
        self.shared = self.session()

    def session(self):
        session = self.requests.Session()
        session.trust_env = False
        if self.job["proxy"]:
            session.proxies = {"http": self.job["proxy"]}
            # Threads that are the first to ask make a pool each, of which one stays: the others' connections are lost.
            session.get_adapter("http://").proxy_manager_for(self.job["proxy"])
        return session

    def one(self, url):
        job = self.job
        if job["variant"] == "new_client":
            with self.session() as session:
                whole(job, session.get(url).content)
        elif job["variant"] == "healthy":
            whole(job, self.shared.get(url).content)
        else:
            response = self.shared.get(url, stream=True)
            time.sleep(job["look"] / 1000)
            if job["variant"] == "keep":
                HELD.append(response)
            else:
                response.close()


class Httpx:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)   # never used, and slow to make for each client

    def __init__(self, job):
        import httpx
        self.job, self.httpx = job, httpx
        self.shared = self.session()

    def session(self):
        return self.httpx.Client(proxies=self.job["proxy"] or None, trust_env=False, verify=self.tls, timeout=200)

    def one(self, url):
        job = self.job
        if job["variant"] == "new_client":
            with self.session() as session:
                whole(job, session.get(url).content)
        elif job["variant"] == "healthy":
            whole(job, self.shared.get(url).content)
        else:
            response = self.shared.send(self.shared.build_request("GET", url), stream=True)
            time.sleep(job["look"] / 1000)
            if job["variant"] == "keep":
                HELD.append(response)
            else:
                response.close()


def run_threads(make, job):
    wrong = []
    client = make(job)
    HELD.append(client)
    time.sleep(job["delay"] / 1000)

    def one(url):
        try:
            client.one(url)
        except Exception as error:  # pylint: disable=broad-except
            wrong.append(error)
    for i, (n, url) in enumerate(rounds(job)):
        if i:
            time.sleep(job["pause"] / 1000)
        if n == 1:
            one(url)
            continue
        workers = [threading.Thread(target=one, args=(url,)) for _ in range(n)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    report(job, wrong)


def threads(make):
    for line in sys.stdin:
        threading.Thread(target=run_threads, args=(make, json.loads(line)), daemon=True).start()


# --- aiohttp: one loop ---


async def run_aiohttp(job):
    import aiohttp
    wrong, proxy = [], job["proxy"] or None
    shared = aiohttp.ClientSession()
    HELD.append(shared)
    await asyncio.sleep(job["delay"] / 1000)

    async def one(url):
        try:
            if job["variant"] == "new_client":
                async with aiohttp.ClientSession() as session:
                    async with session.get(url, proxy=proxy) as response:
                        whole(job, await response.read())
                return
            response = await shared.get(url, proxy=proxy)
            if job["variant"] == "healthy":
                whole(job, await response.read())
                return
            await asyncio.sleep(job["look"] / 1000)
            if job["variant"] == "keep":
                HELD.append(response)
            else:
                response.close()
        except Exception as error:  # pylint: disable=broad-except
            wrong.append(error)
    for i, (n, url) in enumerate(rounds(job)):
        if i:
            await asyncio.sleep(job["pause"] / 1000)
        await asyncio.gather(*(one(url) for _ in range(n)))
    report(job, wrong)


async def aiohttp_main():
    loop, tasks = asyncio.get_running_loop(), []
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        tasks.append(loop.create_task(run_aiohttp(json.loads(line))))


if __name__ == "__main__":
    if sys.argv[1] == "aiohttp":
        asyncio.run(aiohttp_main())
    else:
        threads({"requests": Requests, "httpx": Httpx}[sys.argv[1]])
    os._exit(0)   # with what is held as it is: the kernel closes it
