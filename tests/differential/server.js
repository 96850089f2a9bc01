// Answers each request with `METHOD target length`.
require('http').createServer((request, response) => {
  let length = 0;
  request.on('data', (piece) => { length += piece.length; });
  request.on('end', () => response.end(`${request.method} ${request.url} ${length}`));
}).listen(Number(process.argv[2]), '127.0.0.1');
