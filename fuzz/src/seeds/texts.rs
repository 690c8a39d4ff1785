//! Seeds that are text: job files, lists of keys and Delta logs.

pub const JOB_FILES: [&str; 6] = [
    "job = \"image-features\"\ninput = \"in\"\noutput = \"out\"\n",
    "job = 'image-features'\ninput = \"s3://bucket/a b/\"\noutput = \"file:///out\" # there\nmode = \"overwrite\"\n\n\
     [params]\ncomponents = 0.95\nextensions = [\"jpg\",\n \"png\"]\nlabel = -1\nexif_orientation = true\ndecode = \"scaled\"\n\
     precision = \"auto\"\nweights = \"builtin\"\nweights_sha256 = \"\"\n[limits]\nquarantine_share_max = 1\n\
     attempts_max = 7\nrecord_seconds_max = 0x10\nbudget_max_usd = 2.5e-1\n[split]\nobjects_max = 1_000\nbytes_max = \"1.5 MiB\"\n[shuffle]\nmemory_bytes_max = 4_000_000\n",
    "job = \"image-features\"\ninput = \"~/in\"\noutput = \"../out/.\"\n%%\nparams.components=3\nmode=overwrite\n\
     params.extensions=[\"a\", 'b']\nlimits.quarantine_share_max=1e-3\nsplit.bytes_max=1GB\n",
    "job = \"image-features\"\ninput = \"in\"\ninput_list = \"a b/keys.CSV.gz\"\noutput = \"out\"\n",
    "jo = 1\ninput = 1979-05-27T07:32:00Z\n[param]\nx = { a = [1, 2.5, nan] }\n[[split]]\na.b.c = \"\"\"\n\\u00e9\\\n  x\"\"\"\n",
    "job = image-features\n= 3\n[limits\nattempts_max = 99999999999999999999\n%%\n=1\nparams=2\nx\n",
];

pub const KEY_LISTS: [&str; 9] = [
    "\0\u{0}3\n[\"a b\"]\n[\"b/\u{fc}\",12,\"e-2\"]\n",
    "\0\u{0}1\n[\"a\",1]\n",
    "\u{1}\u{1}\u{feff}a b\r\n\r\n/in/\u{fc}/c\nfile:///in/d",
    "\u{1}\0../a\n",
    "\u{2}\0bucket,key,size,e_tag,is_latest,IsDeleteMarker\nb,p/a,3,e,true,false\nb,q/a,,,,\nb,p/f/,0,,,\n",
    "\u{2}\0\"b\",\"p/a+b%2B%C3%BC\",\"x\"\n",
    "\u{2}\u{1}a\n\"b,\"\"c\"\n",
    "\u{2}\u{1}label,PATH\n1,/in/a\n",
    "\u{3}\0{\"sourceBucket\":\"b\",\"destinationBucket\":\"arn:aws:s3:::lists\",\"fileFormat\":\"CSV\",\
     \"fileSchema\":\"Bucket, Key, Size, ETag\",\"files\":[{\"key\":\"d/1.csv.gz\",\"size\":9,\"MD5checksum\":\"00\"}]}",
];

pub const DELTA_LOGS: [&str; 6] = [
    r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"t","format":{"provider":"parquet","options":{}},"schemaString":"{}","partitionColumns":[],"configuration":{}}}
{"add":{"path":"a.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":3}"}}
{"add":{"path":"b%20c.parquet","partitionValues":{"d":null},"size":1,"modificationTime":1,"dataChange":true,"tags":{"mr.crc32":"0000002a"}}}
"#,
    r#"{"commitInfo":{"jobId":"j1","runFiles":["report.json"],"condemned":["j2"],"operationMetrics":{"numFiles":"1","numRemovedFiles":"0"},"runFilesCrc32":{"report.json":"0a0b0c0d"},"info":{"a":1}}}
{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"t","format":{"provider":"parquet"},"schemaString":"{\"x\":1}","partitionColumns":[],"configuration":{"mr.table":"1"},"createdTime":5}}
{"add":{"path":"part-00000-j1.parquet","size":1,"modificationTime":1,"dataChange":true}}
%%
{"commitInfo":{"jobId":"j2","runFiles":["pca/mean.npy","quarantine.parquet"],"operationMetrics":{"numFiles":"2","numRemovedFiles":"1"}}}
{"remove":{"path":"part-00000-j1.parquet","deletionTimestamp":1,"dataChange":true}}
{"add":{"path":"part-00000-j2.parquet","size":1,"modificationTime":1,"dataChange":true}}
{"add":{"path":"part-00001-j2.parquet","size":1,"modificationTime":1,"dataChange":true}}
"#,
    r#"{"commitInfo":{"jobId":"j1","runFiles":["report.json"],"operationMetrics":{"numFiles":"1","numRemovedFiles":"0"}}}
{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"t","format":{"provider":"txt"},"schemaString":"{}","partitionColumns":[],"configuration":{"mr.table":"1"}}}
{"add":{"path":"part-00000-j1.txt","size":1,"modificationTime":1,"dataChange":true}}
%%
{"commitInfo":{"jobId":"j2","operationMetrics":{"numFiles":"0","numRemovedFiles":"1"}}}
{"metaData":{"id":"t","format":{"provider":"jsonl.gz"},"schemaString":"{}","partitionColumns":[],"configuration":{"mr.table":"1"}}}
{"remove":{"path":"part-00000-j1.txt","deletionTimestamp":1,"dataChange":true}}
"#,
    r#"{"txn":{"appId":"x","version":1}}
{"protocol":{"minReaderVersion":3,"minWriterVersion":7}}
"#,
    r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":1}}
{"metaData":{"id":"t","name":"n","description":"d","format":{"provider":"parquet"},"schemaString":"delta.invariants","partitionColumns":["d"],"configuration":{"delta.appendOnly":"true","mr.table":null}}}
%%
{"remove":{"path":"../x","dataChange":false}}
{"add":{"path":"s3://other/x.parquet","size":18446744073709551615,"modificationTime":-1,"dataChange":true}}
"#,
    r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"t","format":{"provider":"parquet"},"schemaString":"{}","partitionColumns":[]}}
%%
{"commitInfo":{"jobId":"j1","condemned":["j2"],"operationMetrics":{"numFiles":"1","numRemovedFiles":"2"}}}
{"remove":{"path":"notes.txt","dataChange":true}}
{"remove":{"path":"x%2Fy.parquet","dataChange":true}}
{"add":{"path":"%61.parquet","size":1,"modificationTime":1,"dataChange":true}}
"#,
];
