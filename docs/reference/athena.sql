-- What customers did, from the files of POST /events, for Athena. Run one statement at a time.
-- Replace DATA_BUCKET by the output DataBucketName, and the days by yours. `day` is the day of arrival (UTC): it says
-- which folders are read, and Athena is paid by what it reads.
-- The lists of types are those that count without rules/event_types.json; with it, they are yours.
-- An event may be in the files twice; these queries count it once. They count bots, which the ledger leaves out.

CREATE DATABASE IF NOT EXISTS shop;

CREATE EXTERNAL TABLE IF NOT EXISTS shop.events (
  user_id string,
  item_id string,
  event_type string,
  `timestamp` bigint COMMENT 'sentAt, epoch milliseconds',
  event_value double,
  event_id string,
  session_id string,
  shown int COMMENT 'items in the impression list',
  recommendation_id string,
  run_id string COMMENT 'of the model that gave the recommendation',
  placement string,
  trial string,
  variant string,
  received_at bigint COMMENT 'epoch milliseconds'
)
PARTITIONED BY (day string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('case.insensitive' = 'TRUE', 'ignore.malformed.json' = 'TRUE')
STORED AS INPUTFORMAT 'org.apache.hadoop.mapred.TextInputFormat'
OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat'
LOCATION 's3://DATA_BUCKET/raw/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.day.type' = 'date',
  'projection.day.format' = 'yyyy-MM-dd',
  'projection.day.range' = 'NOW-2YEARS,NOW',
  'projection.day.interval' = '1',
  'projection.day.interval.unit' = 'DAYS',
  'storage.location.template' = 's3://DATA_BUCKET/raw/live-${day}/'
);

-- Clicks of each model and day
SELECT
  day,
  run_id,
  count(DISTINCT recommendation_id) AS impressions,
  count(DISTINCT CASE
    WHEN lower(event_type) IN ('add_to_cart', 'addtocart', 'cart', 'click', 'detail', 'view')
    THEN recommendation_id || ' ' || item_id
  END) AS clicks
FROM shop.events
WHERE day BETWEEN '2026-11-01' AND '2026-11-30'
  AND recommendation_id IS NOT NULL
  AND (
    shown > 0
    OR lower(event_type) IN (
      'impression', 'add_to_cart', 'addtocart', 'cart', 'click', 'detail', 'view',
      'buy', 'checkout', 'order', 'purchase', 'transaction'
    )
  )
GROUP BY day, run_id
ORDER BY day, run_id;

-- Clicks of each placement
SELECT
  coalesce(placement, 'none') AS placement,
  count(DISTINCT recommendation_id) AS impressions,
  count(DISTINCT CASE
    WHEN lower(event_type) IN ('add_to_cart', 'addtocart', 'cart', 'click', 'detail', 'view')
    THEN recommendation_id || ' ' || item_id
  END) AS clicks
FROM shop.events
WHERE day BETWEEN '2026-11-01' AND '2026-11-30'
  AND recommendation_id IS NOT NULL
  AND (
    shown > 0
    OR lower(event_type) IN (
      'impression', 'add_to_cart', 'addtocart', 'cart', 'click', 'detail', 'view',
      'buy', 'checkout', 'order', 'purchase', 'transaction'
    )
  )
GROUP BY coalesce(placement, 'none')
ORDER BY clicks DESC;

-- Purchases of each model, and their value
SELECT
  run_id,
  count(*) AS purchases,
  sum(value) AS value
FROM (
  SELECT
    run_id,
    recommendation_id,
    item_id,
    max(coalesce(event_value, 0)) AS value
  FROM shop.events
  WHERE day BETWEEN '2026-11-01' AND '2026-11-30'
    AND recommendation_id IS NOT NULL
    AND lower(event_type) IN ('buy', 'checkout', 'order', 'purchase', 'transaction')
  GROUP BY run_id, recommendation_id, item_id
) AS bought
GROUP BY run_id
ORDER BY value DESC;
