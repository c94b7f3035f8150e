import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.IntFunction;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.streams.processor.TimestampExtractor;

/** The fields of a captured trade that a candle needs. Prices and sizes unscaled at scale 8, times in microseconds. */
final class Trade {
  String op;
  String id;
  boolean hasSequence;
  long sequence;
  long price;
  long size;
  BigInteger notional;
  long time;
  long lsn;
  long offset;

  /** Decodes the registry's wire format with a narrow reader schema, and skips all other fields. Resolved once per writer schema. */
  static final class Reader implements Deserializer<Trade> {
    private final Schema narrow;
    private final IntFunction<Schema> writers;
    private final Map<Integer, GenericDatumReader<GenericRecord>> readers = new ConcurrentHashMap<>();
    /** All threads share one reader. Objects reused between records belong to one thread. */
    private final ThreadLocal<Reused> reused = ThreadLocal.withInitial(Reused::new);

    private static final class Reused {
      GenericRecord envelope;
      BinaryDecoder decoder;
    }

    Reader(Schema narrow, IntFunction<Schema> writers) {
      this.narrow = narrow;
      this.writers = writers;
    }

    @Override
    public Trade deserialize(String topic, byte[] bytes) {
      if (bytes == null) return null;
      var reader = readers.computeIfAbsent(
          ByteBuffer.wrap(bytes, 1, 4).getInt(), id -> new GenericDatumReader<>(writers.apply(id), narrow));
      var mine = reused.get();
      try {
        mine.decoder = DecoderFactory.get().binaryDecoder(bytes, 5, bytes.length - 5, mine.decoder);
        mine.envelope = reader.read(mine.envelope, mine.decoder);
      } catch (IOException e) {
        throw new java.io.UncheckedIOException(e);
      }
      var envelope = mine.envelope;
      var row = (GenericRecord) envelope.get("after");
      if (row == null) return null;
      var trade = new Trade();
      trade.op = envelope.get("op").toString();
      trade.id = row.get("trade_id").toString();
      var sequence = (Long) row.get("venue_sequence");
      trade.hasSequence = sequence != null;
      trade.sequence = sequence == null ? 0 : sequence;
      trade.price = unscaled((ByteBuffer) row.get("price"));
      trade.size = unscaled((ByteBuffer) row.get("size"));
      trade.notional = BigInteger.valueOf(trade.price).multiply(BigInteger.valueOf(trade.size));
      var at = Instant.parse(row.get("executed_at").toString());
      trade.time = at.getEpochSecond() * 1_000_000 + at.getNano() / 1_000;
      var lsn = (Long) ((GenericRecord) envelope.get("source")).get("lsn");
      trade.lsn = lsn == null ? 0 : lsn;
      return trade;
    }

    private static long unscaled(ByteBuffer bytes) {
      long value = bytes.get(bytes.position());
      for (int at = bytes.position() + 1; at < bytes.limit(); at++) value = value << 8 | bytes.get(at) & 0xff;
      return value;
    }
  }

  /** Returns the event time, and stores the record's offset, which is available here. */
  static final class EventTime implements TimestampExtractor {
    @Override
    public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
      if (!(record.value() instanceof Trade trade)) return partitionTime;
      trade.offset = record.offset();
      return trade.time / 1_000;
    }
  }
}
