import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Aggregator;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Initializer;
import org.apache.kafka.streams.kstream.KeyValueMapper;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.Stores;

/**
 * One-minute candles of Debezium's trade changes with Kafka Streams, each window emitted once, when it closes. It is the
 * usual JVM alternative to Millrace's ohlcv. Runs until it is killed.
 *
 * Arguments are name=value: brokers, registry, input, output, application, threads, guarantee, candle (full or simple), store (memory or
 * rocksdb), state, and the files and ids of the schemas: reader, key, value, keyId, valueId.
 */
public final class Peer {
  private static final Duration SIZE = Duration.ofMinutes(1);
  private static final Duration GRACE = Duration.ofSeconds(5);

  public static void main(String[] arguments) throws Exception {
    Map<String, String> options = new HashMap<>();
    for (String each : arguments) options.put(each.substring(0, each.indexOf('=')), each.substring(each.indexOf('=') + 1));
    var builder = new StreamsBuilder();
    if (options.get("candle").equals("simple")) {
      KeyValueMapper<Windowed<Bytes>, SimpleCandle, KeyValue<byte[], byte[]>> out =
          (key, candle) -> KeyValue.pair(key.key().get(), candle.toBytes());
      build(builder, options, SimpleCandle::new, (key, trade, candle) -> candle.add(trade), SimpleCandle.serde(), out);
    } else {
      build(builder, options, Candle::new, (key, trade, candle) -> candle.add(trade), Candle.serde(), new Output(options));
    }
    var streams = new KafkaStreams(builder.build(), properties(options));
    var stopped = new CountDownLatch(1);
    streams.setUncaughtExceptionHandler((exception) -> {
      exception.printStackTrace();
      stopped.countDown();
      return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
    });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
    streams.start();
    stopped.await();
    System.exit(1);
  }

  private static <A> void build(
      StreamsBuilder builder,
      Map<String, String> options,
      Initializer<A> empty,
      Aggregator<Bytes, Trade, A> add,
      Serde<A> serde,
      KeyValueMapper<Windowed<Bytes>, A, KeyValue<byte[], byte[]>> out) throws IOException {
    var narrow = schema(options, "reader");
    var registry = new Registry(options.get("registry"));
    Serde<Trade> trades = new Serdes.WrapperSerde<>((topic, trade) -> null, new Trade.Reader(narrow, registry::byId)) {};
    Materialized<Bytes, A, org.apache.kafka.streams.state.WindowStore<Bytes, byte[]>> store =
        options.get("store").equals("memory")
            ? Materialized.as(Stores.inMemoryWindowStore("windows", SIZE.plus(GRACE), SIZE, false))
            : Materialized.as("windows");
    builder
        .stream(options.get("input"), Consumed.with(Serdes.Bytes(), trades).withTimestampExtractor(new Trade.EventTime()))
        .filter((key, trade) -> trade != null && (trade.op.equals("c") || trade.op.equals("r")))
        .groupByKey(Grouped.with(Serdes.Bytes(), trades))
        .windowedBy(TimeWindows.ofSizeAndGrace(SIZE, GRACE))
        .aggregate(empty, add, store.withKeySerde(Serdes.Bytes()).withValueSerde(serde))
        .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))
        .toStream()
        .map(out)
        .to(options.get("output"), Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
  }

  private static Properties properties(Map<String, String> options) {
    var properties = new Properties();
    properties.put(StreamsConfig.APPLICATION_ID_CONFIG, options.get("application"));
    properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.get("brokers"));
    properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, options.get("threads"));
    properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, options.get("guarantee"));
    properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
    properties.put(StreamsConfig.STATE_DIR_CONFIG, options.get("state"));
    properties.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    properties.put("auto.offset.reset", "earliest");
    properties.put(StreamsConfig.producerPrefix("compression.type"), "zstd");
    return properties;
  }

  private static Schema schema(Map<String, String> options, String name) throws IOException {
    return new Schema.Parser().parse(Files.readString(Path.of(options.get(name))));
  }

  /** The writers' schemas, by id. */
  private record Registry(String url) {
    Schema byId(int id) {
      try {
        var request = HttpRequest.newBuilder(URI.create(url + "/schemas/ids/" + id)).build();
        var body = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
        return new Schema.Parser().parse(new ObjectMapper().readTree(body).get("schema").asText());
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
  }

  /** A closed window as the candle and the key that Millrace publishes. */
  private static final class Output implements KeyValueMapper<Windowed<Bytes>, Candle, KeyValue<byte[], byte[]>> {
    private final Schema tradeKey;
    private final Schema keySchema;
    private final Schema valueSchema;
    private final int keyId;
    private final int valueId;

    Output(Map<String, String> options) throws IOException {
      tradeKey = schema(options, "tradeKey");
      keySchema = schema(options, "key");
      valueSchema = schema(options, "value");
      keyId = Integer.parseInt(options.get("keyId"));
      valueId = Integer.parseInt(options.get("valueId"));
    }

    @Override
    public KeyValue<byte[], byte[]> apply(Windowed<Bytes> window, Candle candle) {
      try {
        byte[] bytes = window.key().get();
        var of = new GenericDatumReader<GenericRecord>(tradeKey)
            .read(null, DecoderFactory.get().binaryDecoder(bytes, 5, bytes.length - 5, null));
        long start = window.window().start() * 1_000;
        var key = new GenericData.Record(keySchema);
        var value = new GenericData.Record(valueSchema);
        for (var each : new GenericData.Record[] {key, value}) {
          each.put("venue", of.get("venue"));
          each.put("symbol", of.get("symbol"));
          each.put("interval", "1m");
          each.put("window_start", start);
        }
        value.put("window_end", start + SIZE.toMillis() * 1_000);
        value.put("open", decimal(candle.open));
        value.put("high", decimal(candle.high));
        value.put("low", decimal(candle.low));
        value.put("close", decimal(candle.close));
        value.put("vwap", candle.volume.signum() == 0 ? null : decimal(vwap(candle)));
        value.put("volume", bytes(candle.volume));
        value.put("notional", bytes(candle.notional));
        value.put("trade_count", candle.count);
        value.put("first_trade_id", candle.openId);
        value.put("last_trade_id", candle.closeId);
        value.put("open_time", candle.openTime);
        value.put("high_time", candle.highTime);
        value.put("low_time", candle.lowTime);
        value.put("close_time", candle.closeTime);
        value.put("status", new GenericData.EnumSymbol(valueSchema.getField("status").schema(), "CLOSED"));
        value.put("revision", 1);
        value.put("reason", new GenericData.EnumSymbol(valueSchema.getField("reason").schema(), "WATERMARK"));
        value.put("provenance", provenance(candle));
        return KeyValue.pair(encode(key, keySchema, keyId), encode(value, valueSchema, valueId));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    private GenericRecord provenance(Candle candle) {
      var provenance = new GenericData.Record(valueSchema.getField("provenance").schema().getTypes().get(1));
      provenance.put("processor_version", "peer");
      provenance.put("from_offset", candle.fromOffset);
      provenance.put("to_offset", candle.toOffset);
      provenance.put("from_lsn", candle.fromLsn);
      provenance.put("to_lsn", candle.toLsn);
      return provenance;
    }

    /** Rounded half away from zero. */
    private static long vwap(Candle candle) {
      return new BigDecimal(candle.notional).divide(new BigDecimal(candle.volume), 0, RoundingMode.HALF_UP).longValueExact();
    }

    private static ByteBuffer decimal(long unscaled) {
      return bytes(BigInteger.valueOf(unscaled));
    }

    private static ByteBuffer bytes(BigInteger unscaled) {
      return ByteBuffer.wrap(unscaled.toByteArray());
    }

    private static byte[] encode(GenericRecord record, Schema schema, int id) throws IOException {
      var out = new ByteArrayOutputStream();
      out.write(ByteBuffer.allocate(5).put((byte) 0).putInt(id).array());
      var encoder = EncoderFactory.get().binaryEncoder(out, null);
      new GenericDatumWriter<GenericRecord>(schema).write(record, encoder);
      encoder.flush();
      return out.toByteArray();
    }
  }
}
