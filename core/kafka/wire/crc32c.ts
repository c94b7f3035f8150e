/** CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of Kafka's record batches; node:zlib has only CRC-32. */
const polynomial = 0x82f63b78;
/** Bytes of one step. Their look-ups do not depend on each other, unlike those of one byte after the other. */
const stride = 16;

/** At 256 k + byte: checksum of the byte with k zero bytes after it. */
const tables = new Int32Array(256 * stride);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ polynomial : crc >>> 1;
  tables[byte] = crc;
}
for (let i = 256; i < tables.length; i++) {
  const shorter = shifted(i - 256);
  tables[i] = (shorter >>> 8) ^ shifted(shorter & 0xff);
}

/** Unsigned 32-bit checksum. */
export function crc32c(bytes: Uint8Array): number {
  const whole = bytes.length - (bytes.length % stride);
  let crc = -1;
  for (let at = 0; at < whole; at += stride) crc = step(bytes, at, crc);
  for (let at = whole; at < bytes.length; at++) crc = shifted((crc ^ byte(bytes, at)) & 0xff) ^ (crc >>> 8);
  return (crc ^ -1) >>> 0;
}

/** The checksum after 16 more bytes. */
function step(b: Uint8Array, i: number, crc: number): number {
  const word = crc ^ (byte(b, i) | (byte(b, i + 1) << 8) | (byte(b, i + 2) << 16) | (byte(b, i + 3) << 24));
  return (
    shifted(3840 + (word & 0xff)) ^
    shifted(3584 + ((word >>> 8) & 0xff)) ^
    shifted(3328 + ((word >>> 16) & 0xff)) ^
    shifted(3072 + (word >>> 24)) ^
    shifted(2816 + byte(b, i + 4)) ^
    shifted(2560 + byte(b, i + 5)) ^
    shifted(2304 + byte(b, i + 6)) ^
    shifted(2048 + byte(b, i + 7)) ^
    shifted(1792 + byte(b, i + 8)) ^
    shifted(1536 + byte(b, i + 9)) ^
    shifted(1280 + byte(b, i + 10)) ^
    shifted(1024 + byte(b, i + 11)) ^
    shifted(768 + byte(b, i + 12)) ^
    shifted(512 + byte(b, i + 13)) ^
    shifted(256 + byte(b, i + 14)) ^
    shifted(byte(b, i + 15))
  );
}

function shifted(i: number): number {
  return tables[i] as number;
}

function byte(bytes: Uint8Array, i: number): number {
  return bytes[i] as number;
}
