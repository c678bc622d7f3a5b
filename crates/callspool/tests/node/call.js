'use strict';
// A SIP client over a WebSocket with TLS, in Node: it calls, talks for a second in A-law, refreshes the call by a
// re-INVITE, answers the re-INVITE that it is sent, hangs up, and says what it did. The package ws carries what JsSIP's
// grammar reads. Media go by a plain socket: WebRTC's need DTLS-SRTP.
//
// node call.js <wss URL> <file of the authority>

const crypto = require('crypto');
const dgram = require('dgram');
const fs = require('fs');
const WebSocket = require('ws');
const { parseMessage } = require('jssip/lib/Parser.js');
const sdpTransform = require('sdp-transform');

const PACKETS = 50;
const [url, ca] = process.argv.slice(2);
const token = () => crypto.randomBytes(8).toString('hex');
// As a browser: Via and Contact name nothing that exists (RFC 7118 section 5).
const host = `${token()}.invalid`;
const [callId, fromTag] = [token(), token()];
const uri = 'sip:recorder@callspool.test';
const contact = `Contact: <sip:node@${host};transport=ws>`;
setTimeout(() => fail('it took longer than 60 s'), 60000).unref();

function fail(why) {
  console.error(why);
  process.exit(1);
}

const media = dgram.createSocket('udp4');
media.bind(0, '127.0.0.1', () => call((direction) => [
  'v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0',
  `m=audio ${media.address().port} RTP/AVP 8`, 'a=rtpmap:8 PCMA/8000', `a=${direction}`, '',
].join('\r\n')));

function call(sdp) {
  const socket = new WebSocket(url, 'sip', { ca: fs.readFileSync(ca) });
  let toTag = '';
  let cseq = 0;
  let asked = 0;

  // No Content-Length: the WebSocket message ends where it ends.
  const send = (method, number, body) => {
    const lines = [
      `${method} ${uri} SIP/2.0`, `Via: SIP/2.0/WSS ${host};branch=z9hG4bK${method}${number}${fromTag}`,
      'Max-Forwards: 70', `From: "Node" <sip:node@callspool.test>;tag=${fromTag}`,
      `To: <${uri}>${toTag && `;tag=${toTag}`}`, `Call-ID: ${callId}`, `CSeq: ${number} ${method}`, contact,
      'Supported: outbound',
    ];
    if (body) lines.push('Content-Type: application/sdp');
    socket.send([...lines, '', body || ''].join('\r\n'));
  };

  const answer = (request, body) => {
    const lines = ['SIP/2.0 200 OK', ...request.getHeaders('via').map((via) => `Via: ${via}`)];
    for (const name of ['From', 'To', 'Call-ID', 'CSeq']) lines.push(`${name}: ${request.getHeader(name)}`);
    lines.push(contact);
    if (body) lines.push('Content-Type: application/sdp');
    socket.send([...lines, '', body || ''].join('\r\n'));
  };

  socket.on('error', (error) => fail(error.message));
  socket.on('open', () => {
    if (socket.protocol !== 'sip') fail(`the subprotocol is '${socket.protocol}'`);
    send('INVITE', ++cseq, sdp('sendrecv'));
  });
  socket.on('message', (data) => {
    const message = parseMessage(data.toString(), {});
    if (!message) return fail(`JsSIP cannot read:\n${data}`);
    if (message.status_code === undefined) return requested(message);
    if (message.status_code < 200) return undefined;
    if (message.status_code >= 300) return fail(`refused: ${message.status_code}`);
    toTag = message.to_tag;
    switch (`${message.method} ${message.cseq}`) {
      case 'INVITE 1':
        send('ACK', cseq);
        return talk(sdpTransform.parse(message.body), () => send('INVITE', ++cseq, sdp('sendrecv')));
      case 'INVITE 2':
        send('ACK', cseq);
        return console.log('talked');
      case 'BYE 3':
        console.log(JSON.stringify({ sip_call_id: callId, packets: PACKETS, asked }));
        socket.close();
        return media.close();
      default:
        return fail(`unexpected answer to ${message.method} ${message.cseq}`);
    }
  });

  // What the recorder asks in the dialog comes over the connection that we opened: there is no other way to us.
  function requested(request) {
    if (request.call_id !== callId || request.from_tag !== toTag) return fail(`not of this dialog:\n${request.data}`);
    if (request.method === 'INVITE') {
      asked += 1;
      return answer(request, sdp('inactive'));
    }
    if (request.method === 'ACK') return send('BYE', ++cseq);
    return fail(`unexpected ${request.method}`);
  }
}

function talk(answer, then) {
  const address = (answer.media[0].connection || answer.connection).ip;
  let sent = 0;
  const timer = setInterval(() => {
    const packet = Buffer.alloc(172, 0xd5);
    packet.writeUInt16BE(0x8008, 0);
    packet.writeUInt16BE(1000 + sent, 2);
    packet.writeUInt32BE(160 * sent, 4);
    packet.writeUInt32BE(0x5ca1ab1e, 8);
    media.send(packet, answer.media[0].port, address);
    if (++sent === PACKETS) {
      clearInterval(timer);
      // What is still on its way arrives before the end is told.
      setTimeout(then, 100);
    }
  }, 20);
}
