import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;

/** An open window: the fields of Millrace's candle, or with `simple` only price extremes, ends, volume and count. */
final class Candle {
  long open, openTime, openSequence, high, highTime, low, lowTime, close, closeTime, closeSequence;
  boolean openHasSequence, closeHasSequence;
  String openId, closeId;
  BigInteger volume = BigInteger.ZERO, notional = BigInteger.ZERO;
  long count, fromOffset, toOffset, fromLsn, toLsn;

  /** The same candle for every order of calls: ordered by (event time, venue sequence, trade id). */
  Candle add(Trade trade) {
    if (count == 0) {
      fromOffset = trade.offset;
      fromLsn = toLsn = trade.lsn;
      high = low = trade.price;
      highTime = lowTime = trade.time;
    }
    if (count == 0 || order(trade, openTime, openHasSequence, openSequence, openId) < 0) {
      open = trade.price;
      openTime = trade.time;
      openHasSequence = trade.hasSequence;
      openSequence = trade.sequence;
      openId = trade.id;
    }
    if (count == 0 || order(trade, closeTime, closeHasSequence, closeSequence, closeId) >= 0) {
      close = trade.price;
      closeTime = trade.time;
      closeHasSequence = trade.hasSequence;
      closeSequence = trade.sequence;
      closeId = trade.id;
    }
    if (trade.price > high || trade.price == high && trade.time < highTime) {
      high = trade.price;
      highTime = trade.time;
    }
    if (trade.price < low || trade.price == low && trade.time < lowTime) {
      low = trade.price;
      lowTime = trade.time;
    }
    volume = volume.add(BigInteger.valueOf(trade.size));
    notional = notional.add(trade.notional);
    count++;
    toOffset = trade.offset;
    toLsn = Math.max(toLsn, trade.lsn);
    fromLsn = Math.min(fromLsn, trade.lsn);
    return this;
  }

  private static int order(Trade trade, long time, boolean hasSequence, long sequence, String id) {
    if (trade.time != time) return Long.compare(trade.time, time);
    if (trade.hasSequence != hasSequence) return trade.hasSequence ? 1 : -1;
    if (trade.sequence != sequence) return Long.compare(trade.sequence, sequence);
    return trade.id.compareTo(id);
  }

  static Serde<Candle> serde() {
    Serializer<Candle> write = (topic, candle) -> candle == null ? null : candle.toBytes();
    Deserializer<Candle> read = (topic, bytes) -> bytes == null ? null : fromBytes(bytes);
    return Serdes.serdeFrom(write, read);
  }

  private byte[] toBytes() {
    byte[] first = openId.getBytes(StandardCharsets.UTF_8), last = closeId.getBytes(StandardCharsets.UTF_8);
    byte[] sum = volume.toByteArray(), value = notional.toByteArray();
    var out = ByteBuffer.allocate(15 * 8 + 2 + 4 + first.length + last.length + sum.length + value.length);
    out.putLong(open).putLong(openTime).putLong(openSequence).putLong(high).putLong(highTime).putLong(low).putLong(lowTime);
    out.putLong(close).putLong(closeTime).putLong(closeSequence).putLong(count);
    out.putLong(fromOffset).putLong(toOffset).putLong(fromLsn).putLong(toLsn);
    out.put((byte) (openHasSequence ? 1 : 0)).put((byte) (closeHasSequence ? 1 : 0));
    for (byte[] each : new byte[][] {first, last, sum, value}) out.put((byte) each.length).put(each);
    return out.array();
  }

  private static Candle fromBytes(byte[] bytes) {
    var in = ByteBuffer.wrap(bytes);
    var candle = new Candle();
    candle.open = in.getLong();
    candle.openTime = in.getLong();
    candle.openSequence = in.getLong();
    candle.high = in.getLong();
    candle.highTime = in.getLong();
    candle.low = in.getLong();
    candle.lowTime = in.getLong();
    candle.close = in.getLong();
    candle.closeTime = in.getLong();
    candle.closeSequence = in.getLong();
    candle.count = in.getLong();
    candle.fromOffset = in.getLong();
    candle.toOffset = in.getLong();
    candle.fromLsn = in.getLong();
    candle.toLsn = in.getLong();
    candle.openHasSequence = in.get() == 1;
    candle.closeHasSequence = in.get() == 1;
    candle.openId = new String(next(in), StandardCharsets.UTF_8);
    candle.closeId = new String(next(in), StandardCharsets.UTF_8);
    candle.volume = new BigInteger(next(in));
    candle.notional = new BigInteger(next(in));
    return candle;
  }

  private static byte[] next(ByteBuffer in) {
    byte[] bytes = new byte[in.get() & 0xff];
    in.get(bytes);
    return bytes;
  }
}
