-- The middle of a histogram's bucket, in ns (see window_latency): 3.1 % from any value in it at most.
CREATE OR REPLACE FUNCTION latency_bucket_ns AS (bucket) ->
    bitShiftLeft(toUInt64(33 + 2 * bitAnd(bucket, 15)), intDiv(bucket, 16)) / 32;

-- The quantile of a histogram that sumMap has added up, in ns; NaN of an empty one.
CREATE OR REPLACE FUNCTION latency_quantile_ns AS (level, histogram) -> if(
    empty(mapKeys(histogram)),
    nan,
    latency_bucket_ns(mapKeys(histogram)[arrayFirstIndex(
        total -> total >= level * arraySum(mapValues(histogram)),
        arrayCumSum(mapValues(histogram)))]));

-- An address as people write it: IPv4 without its mapping.
CREATE OR REPLACE FUNCTION address_text AS (address) -> replaceOne(toString(address), '::ffff:', '');

-- A protocol number by its IANA keyword, where the collector knows the protocol; else the number.
CREATE OR REPLACE FUNCTION protocol_name AS (protocol) -> transform(
    protocol, [1, 2, 6, 17, 47, 50, 58, 132], ['ICMP', 'IGMP', 'TCP', 'UDP', 'GRE', 'ESP', 'IPv6-ICMP', 'SCTP'], toString(protocol));

-- One end of an edge in a word: namespace/workload, or what it is outside of namespaces.
CREATE OR REPLACE FUNCTION end_name AS (namespace, workload) -> if(namespace = '', workload, concat(namespace, '/', workload));
