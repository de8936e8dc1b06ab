// Node's clients of the matrix: http with a keep-alive Agent, and undici.
//
//     node matrix.js http|undici < PLAN
//
// PLAN holds jobs, a JSON object a line, as matrix.go describes them; each job's tag is printed when it is done. What
// is held stays held until stdin ends.
'use strict';
const http = require('http');
const readline = require('readline');

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const held = [];

function consume(job, stream) {
  return new Promise((done, fail) => {
    let n = 0;
    stream.on('data', (piece) => { n += piece.length; });
    stream.on('end', () => (n === job.size ? done() : fail(new Error(`${n} bytes of ${job.size}`))));
    stream.on('error', fail);
  });
}

async function leave(job, stream) {
  held.push(stream);
  stream.on('error', () => {});
  await sleep(job.look);
  if (job.variant === 'close_unread') stream.destroy();
}

function httpClient(job) {
  const agent = new http.Agent({ keepAlive: true });
  held.push(agent);
  return (url) => new Promise((done, fail) => {
    const target = new URL(url);
    let options = { host: target.hostname, port: target.port, path: target.pathname + target.search };
    if (job.proxy) {
      // What the usual proxy agents do: the proxy is the host, the URL the path.
      const proxy = new URL(job.proxy);
      options = {
        host: proxy.hostname, port: proxy.port, path: url,
        headers: { Host: target.host, 'Proxy-Authorization': 'Basic ' + Buffer.from(proxy.username + ':').toString('base64') },
      };
    }
    const request = http.get({ ...options, agent }, (response) => {
      (job.variant === 'healthy' ? consume(job, response) : leave(job, response)).then(done, fail);
    });
    request.on('error', fail);
  });
}

function undiciClient(job) {
  const { Agent, Pool } = require('undici');
  // undici's ProxyAgent tunnels; a plain request through a forward proxy is a request to the proxy with the URL as its path.
  const proxy = job.proxy ? new URL(job.proxy) : null;
  const dispatcher = proxy ? new Pool(`http://${proxy.host}`) : new Agent();
  held.push(dispatcher);
  return async (url) => {
    const target = new URL(url);
    const { body } = await dispatcher.request({
      origin: proxy ? `http://${proxy.host}` : target.origin, method: 'GET', path: proxy ? url : target.pathname + target.search,
      headers: proxy ? { host: target.host, 'proxy-authorization': 'Basic ' + Buffer.from(proxy.username + ':').toString('base64') } : {},
    });
    await (job.variant === 'healthy' ? consume(job, body) : leave(job, body));
  };
}

async function run(make, job) {
  const wrong = new Set();
  const one = make(job);
  await sleep(job.delay);
  for (let i = 0; i < job.rounds.length; i++) {
    if (i) await sleep(job.pause);
    const url = `${job.url}?round=${i}&of=${job.rounds[i]}`;
    await Promise.all(Array.from({ length: job.rounds[i] }, () => one(url).catch((error) => wrong.add(String(error)))));
  }
  console.log(JSON.stringify({ tag: job.tag, wrong: [...wrong] }));
}

const make = { http: httpClient, undici: undiciClient }[process.argv[2]];
const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => run(make, JSON.parse(line)));
lines.on('close', () => process.exit(0));
