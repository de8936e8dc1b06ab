"""curl in the matrix: python3 curl.py < PLAN, as matrix.py; a process that ends leaves nothing held."""

import json
import os
import subprocess
import sys
import threading
import time


def urls(job):
    return [f"{job['url']}?round={i}&of={n}" for i, n in enumerate(job["rounds"]) for _ in range(n)]


def command(job, several):
    """One process for all those URLs, as many at a time as the job's first round says."""
    out = ["curl", "-sS", "--globoff"]
    if job["proxy"]:
        out += ["--proxy", job["proxy"]]
    if job["variant"] == "no_keepalive":
        out += ["-H", "Connection: close"]
    if len(several) > 1 and job["rounds"][0] > 1:
        out += ["--parallel", "--parallel-immediate", "--parallel-max", str(job["rounds"][0])]
    if job["variant"] == "pipe_head":
        return out + ["-N", *several]
    for url in several:
        out += ["-o", "/dev/null", url]
    return out


def one(job, several, wrong):
    pipe = job["variant"] == "pipe_head"
    curl = subprocess.Popen(command(job, several), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if pipe else None,
                            stderr=subprocess.PIPE)
    if pipe:
        subprocess.run(["head", "-c", "1000"], stdin=curl.stdout, stdout=subprocess.DEVNULL, check=True)
        curl.stdout.close()
    text = curl.stderr.read().decode().strip()
    if curl.wait() != (23 if pipe else 0):   # 23: its write failed
        wrong.append(f"exit code {curl.returncode}: {text}")


def run(job):
    wrong = []
    time.sleep(job["delay"] / 1000)
    if job["variant"] in ("healthy", "no_keepalive"):
        one(job, urls(job), wrong)
    else:
        for i, n in enumerate(job["rounds"]):
            if i:
                time.sleep(job["pause"] / 1000)
            url = f"{job['url']}?round={i}&of={n}"
            workers = [threading.Thread(target=one, args=(job, [url], wrong)) for _ in range(n)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
    os.write(1, (json.dumps({"tag": job["tag"], "wrong": sorted(set(wrong))}) + "\n").encode())


for line in sys.stdin:
    threading.Thread(target=run, args=(json.loads(line),), daemon=True).start()
