import java.nio.ByteBuffer;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;

/** A minimal candle: prices, volume and count in arrival order, 48 bytes. */
final class SimpleCandle {
  long open, high, low, close, volume, count;

  SimpleCandle add(Trade trade) {
    if (count++ == 0) open = high = low = trade.price;
    high = Math.max(high, trade.price);
    low = Math.min(low, trade.price);
    close = trade.price;
    volume += trade.size;
    return this;
  }

  static Serde<SimpleCandle> serde() {
    Serializer<SimpleCandle> write = (topic, candle) -> candle == null ? null : candle.toBytes();
    Deserializer<SimpleCandle> read = (topic, bytes) -> bytes == null ? null : fromBytes(bytes);
    return Serdes.serdeFrom(write, read);
  }

  byte[] toBytes() {
    return ByteBuffer.allocate(48).putLong(open).putLong(high).putLong(low).putLong(close).putLong(volume).putLong(count).array();
  }

  private static SimpleCandle fromBytes(byte[] bytes) {
    var in = ByteBuffer.wrap(bytes);
    var candle = new SimpleCandle();
    candle.open = in.getLong();
    candle.high = in.getLong();
    candle.low = in.getLong();
    candle.close = in.getLong();
    candle.volume = in.getLong();
    candle.count = in.getLong();
    return candle;
  }
}
