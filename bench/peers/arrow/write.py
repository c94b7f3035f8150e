"""pyarrow doing the work of the archive's sink. Each call prints the cost of one round as JSON.

usage: write.py rows FOLDER ROUNDS      writes the rows of FOLDER/*.parquet from Arrow columns in memory to Parquet
       write.py changes FOLDER ROUNDS   decodes Debezium envelopes from Avro (FOLDER/schema.json; FOLDER/changes.bin, each after its length in
                                        four bytes, big endian) to the same rows, and writes them to Parquet
"""

import glob
import io
import json
import struct
import sys
import time
from datetime import datetime

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

micros = pa.timestamp("us", "UTC")
amount = pa.decimal128(20, 8)
columns = {
    "venue": pa.string(),
    "symbol": pa.string(),
    "trade_id": pa.string(),
    "venue_sequence": pa.int64(),
    "price": amount,
    "size": amount,
    "side": pa.string(),
    "executed_at": micros,
    "conditions": pa.string(),
    "_topic": pa.string(),
    "_partition": pa.int32(),
    "_offset": pa.int64(),
    "_lsn": pa.int64(),
    "_op": pa.string(),
    "_source_time": micros,
    "_tx_id": pa.int64(),
    "_timestamp": micros,
    "_commit_lsn": pa.int64(),
    "_snapshot": pa.string(),
    "_rest": pa.string(),
}


def parquet(table):
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", compression_level=3, version="2.6")
    return out.getbuffer().nbytes


def rows_of(folder):
    files = sorted(glob.glob(f"{folder}/*.parquet"))
    table = pa.concat_tables(pq.ParquetFile(file).read() for file in files).combine_chunks()
    return table.num_rows, lambda: parquet(table)


def changes_of(folder):
    with open(f"{folder}/schema.json") as file:
        schema = fastavro.parse_schema(json.load(file))
    with open(f"{folder}/changes.bin", "rb") as file:
        data = file.read()
    changes, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        changes.append(data[at + 4 : at + 4 + length])
        at += 4 + length

    def convert():
        made = {name: [] for name in columns}
        fields = list(columns)[:9]
        for offset, change in enumerate(changes):
            # The first five bytes are the schema id.
            envelope = fastavro.schemaless_reader(io.BytesIO(change[5:]), schema)
            row = envelope["after"] or envelope["before"]
            source = envelope["source"]
            for name in fields:
                made[name].append(datetime.fromisoformat(row[name]) if name == "executed_at" else row[name])
            made["_topic"].append("cdc.public.trades")
            made["_partition"].append(0)
            made["_offset"].append(offset)
            made["_lsn"].append(source["lsn"])
            made["_op"].append(envelope["op"])
            made["_source_time"].append(source["ts_us"])
            made["_tx_id"].append(source["txId"])
            made["_timestamp"].append(0)
            made["_commit_lsn"].append(int(json.loads(source["sequence"])[0]))
            made["_snapshot"].append(source["snapshot"])
            made["_rest"].append(None)
        table = pa.table({name: pa.array(made[name], kind) for name, kind in columns.items()})
        return parquet(table)

    return len(changes), convert


kind, folder, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
pa.set_cpu_count(1)
rows, work = {"rows": rows_of, "changes": changes_of}[kind](folder)
size = work()
started = time.process_time()
for _ in range(rounds):
    work()
seconds = (time.process_time() - started) / rounds
print(json.dumps({"version": pa.__version__, "rows": rows, "seconds": seconds, "bytes": size}))
