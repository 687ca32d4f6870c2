// Reads [base64, ...] from standard input and tells how many request heads Node's parser (llhttp, strict) accepts in
// each, as a server that answers each whole request: [number, ...].
import http from "node:http";
import net from "node:net";

const inputs = JSON.parse(await new Response(process.stdin).text());
let heads = 0;
const server = http.createServer({ insecureHTTPParser: false, maxHeaderSize: 1024 * 1024 }, (request, response) => {
  heads += 1;
  request.on("error", () => {});
  request.resume().on("end", () => response.end("x"));
});
server.on("connect", (_, socket) => {
  heads += 1;
  socket.end();
});
server.on("upgrade", (_, socket) => {
  heads += 1;
  socket.end();
});
server.on("checkExpectation", (request, response) => {
  heads += 1;
  request.resume().on("end", () => response.end("x"));
});
server.on("clientError", (_, socket) => socket.destroy());
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const counts = [];
for (const input of inputs) {
  heads = 0;
  await new Promise((resolve) => {
    const socket = net.connect({ port: server.address().port, host: "127.0.0.1", allowHalfOpen: true });
    socket.on("error", () => {}).on("close", resolve).resume();
    socket.end(Buffer.from(input, "base64"));
    setTimeout(() => socket.destroy(), 5000).unref();
    socket.on("end", () => socket.destroy());
  });
  counts.push(heads);
}
console.log(JSON.stringify(counts));
server.close();
server.closeAllConnections();
