import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.apache.parquet.ParquetReadOptions;
import org.apache.parquet.column.page.PageReadStore;
import org.apache.parquet.conf.PlainParquetConfiguration;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.convert.GroupRecordConverter;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.io.ColumnIOFactory;
import org.apache.parquet.io.LocalInputFile;
import org.apache.parquet.schema.LogicalTypeAnnotation;
import org.apache.parquet.schema.LogicalTypeAnnotation.DecimalLogicalTypeAnnotation;
import org.apache.parquet.schema.LogicalTypeAnnotation.StringLogicalTypeAnnotation;
import org.apache.parquet.schema.LogicalTypeAnnotation.TimeUnit;
import org.apache.parquet.schema.LogicalTypeAnnotation.TimestampLogicalTypeAnnotation;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.PrimitiveType;
import org.apache.parquet.schema.Type;

/**
 * Reads archive files by Apache Parquet's own reader. For each file a line `file TAB rows TAB row hash`, and after it one line per row:
 * the canonical text of all columns, in Base64. The row hash is that of docs/concepts/archive.md, over the columns that are no lineage.
 */
public class Read {
  public static void main(String[] files) throws Exception {
    var options = ParquetReadOptions.builder(new PlainParquetConfiguration()).build();
    for (String file : files) {
      try (var reader = ParquetFileReader.open(new LocalInputFile(Path.of(file)), options)) {
        MessageType schema = reader.getFileMetaData().getSchema();
        List<String> rows = new ArrayList<>();
        BigInteger hash = BigInteger.ZERO;
        for (PageReadStore group; (group = reader.readNextRowGroup()) != null; ) {
          var records = new ColumnIOFactory().getColumnIO(schema).getRecordReader(group, new GroupRecordConverter(schema));
          for (long i = 0; i < group.getRowCount(); i++) {
            Group row = records.read();
            rows.add(Base64.getEncoder().encodeToString(canonical(schema, row, true).getBytes(StandardCharsets.UTF_8)));
            hash = hash.add(hash(canonical(schema, row, false)));
          }
        }
        String sum = String.format("%016x", hash.mod(BigInteger.ONE.shiftLeft(64)));
        System.out.println(file + "\t" + rows.size() + "\t" + sum);
        rows.forEach(System.out::println);
      }
    }
  }

  private static String canonical(MessageType schema, Group row, boolean lineage) {
    List<String> texts = new ArrayList<>();
    for (Type column : schema.getFields()) {
      if (lineage || !column.getName().startsWith("_")) texts.add(text(column.asPrimitiveType(), row));
    }
    return String.join("\u001f", texts);
  }

  private static String text(PrimitiveType column, Group row) {
    int field = row.getType().getFieldIndex(column.getName());
    if (row.getFieldRepetitionCount(field) == 0) return "\u001e";
    LogicalTypeAnnotation type = column.getLogicalTypeAnnotation();
    if (type instanceof StringLogicalTypeAnnotation) return row.getString(field, 0);
    if (type instanceof DecimalLogicalTypeAnnotation decimal) {
      return new BigDecimal(new BigInteger(row.getBinary(field, 0).getBytes()), decimal.getScale()).toPlainString();
    }
    if (type instanceof TimestampLogicalTypeAnnotation time && (time.getUnit() != TimeUnit.MICROS || !time.isAdjustedToUTC())) {
      throw new IllegalStateException(column + " is not microseconds UTC");
    }
    return switch (column.getPrimitiveTypeName()) {
      case INT32 -> Integer.toString(row.getInteger(field, 0));
      case INT64 -> Long.toString(row.getLong(field, 0));
      default -> throw new IllegalStateException("no column of the archive is " + column);
    };
  }

  /** First 8 bytes of the MD5, unsigned. */
  private static BigInteger hash(String text) throws Exception {
    byte[] md5 = MessageDigest.getInstance("MD5").digest(text.getBytes(StandardCharsets.UTF_8));
    return new BigInteger(1, java.util.Arrays.copyOf(md5, 8));
  }
}
