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
