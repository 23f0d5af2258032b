"""The change feed: what triggers note in the transaction of a change, and the sequencer that stamps it once committed.

Why it is so: docs/change-feed.md.
"""

import django.db.models.deletion
from django.db import migrations, models

CLOCK = """
CREATE TABLE catalog_syncclock (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    last timestamptz NOT NULL
);
INSERT INTO catalog_syncclock (last) VALUES (clock_timestamp());

CREATE FUNCTION catalog_clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';
"""
CLOCK_REVERSE = "DROP FUNCTION catalog_clock(); DROP TABLE catalog_syncclock;"

# Locks on changes are taken in the order of ids, by transactions that hold the product already: no new deadlocks.
CAPTURE = """
CREATE FUNCTION catalog_capture_insert() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO catalog_productchange AS c (product_id) SELECT id FROM new_rows ORDER BY id
    ON CONFLICT (product_id) DO UPDATE SET stamp = NULL, removed_ean = NULL
        WHERE c.stamp IS NOT NULL OR c.removed_ean IS NOT NULL;
    RETURN NULL;
END $$;

-- The plan is kept for the session, made for the few rows of the first call: nested loops would be quadratic later.
CREATE FUNCTION catalog_capture_update() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT SET enable_nestloop = off AS $$
BEGIN
    INSERT INTO catalog_productchange AS c (product_id)
    SELECT n.id FROM new_rows n JOIN old_rows o ON o.id = n.id WHERE o IS DISTINCT FROM n ORDER BY n.id
    ON CONFLICT (product_id) DO UPDATE SET stamp = NULL WHERE c.stamp IS NOT NULL;
    RETURN NULL;
END $$;

CREATE FUNCTION catalog_capture_delete() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO catalog_productchange (product_id, removed_ean) SELECT id, ean FROM old_rows ORDER BY id
    ON CONFLICT (product_id) DO UPDATE SET stamp = NULL, removed_ean = excluded.removed_ean;
    RETURN NULL;
END $$;

CREATE FUNCTION catalog_capture_truncate() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO catalog_productchange (product_id, removed_ean) SELECT id, ean FROM catalog_product ORDER BY id
    ON CONFLICT (product_id) DO UPDATE SET stamp = NULL, removed_ean = excluded.removed_ean;
    RETURN NULL;
END $$;

CREATE FUNCTION catalog_refuse_new_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The id of product % never changes: clients of the change feed know it by this id.', OLD.id
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER catalog_capture_insert AFTER INSERT ON catalog_product
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION catalog_capture_insert();
CREATE TRIGGER catalog_capture_update AFTER UPDATE ON catalog_product
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION catalog_capture_update();
CREATE TRIGGER catalog_capture_delete AFTER DELETE ON catalog_product
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION catalog_capture_delete();
CREATE TRIGGER catalog_capture_truncate BEFORE TRUNCATE ON catalog_product
    FOR EACH STATEMENT EXECUTE FUNCTION catalog_capture_truncate();
CREATE TRIGGER catalog_refuse_new_id BEFORE UPDATE OF id ON catalog_product
    FOR EACH ROW WHEN (OLD.id <> NEW.id) EXECUTE FUNCTION catalog_refuse_new_id();

-- What was there before the feed is new to its readers. The triggers' locks keep writers out until the commit.
INSERT INTO catalog_productchange (product_id) SELECT id FROM catalog_product ORDER BY id;
"""
CAPTURE_REVERSE = """
DROP TRIGGER catalog_refuse_new_id ON catalog_product;
DROP TRIGGER catalog_capture_truncate ON catalog_product;
DROP TRIGGER catalog_capture_delete ON catalog_product;
DROP TRIGGER catalog_capture_update ON catalog_product;
DROP TRIGGER catalog_capture_insert ON catalog_product;
DROP FUNCTION catalog_refuse_new_id(), catalog_capture_truncate(), catalog_capture_delete(),
    catalog_capture_update(), catalog_capture_insert();
"""

RENAMES = """
CREATE FUNCTION catalog_capture_rename() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    -- DO NOTHING would not lock the note, and the sequencer could take it before this transaction commits.
    INSERT INTO catalog_referencechange (reference_id) VALUES (NEW.id)
    ON CONFLICT (reference_id) DO UPDATE SET reference_id = excluded.reference_id;
    RETURN NULL;
END $$;

CREATE TRIGGER catalog_capture_rename AFTER UPDATE ON catalog_brand
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION catalog_capture_rename();
CREATE TRIGGER catalog_capture_rename AFTER UPDATE ON catalog_category
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name) EXECUTE FUNCTION catalog_capture_rename();
CREATE TRIGGER catalog_capture_rename AFTER UPDATE ON catalog_supplier
    FOR EACH ROW WHEN ((OLD.code, OLD.name) IS DISTINCT FROM (NEW.code, NEW.name))
    EXECUTE FUNCTION catalog_capture_rename();
"""
RENAMES_REVERSE = """
DROP TRIGGER catalog_capture_rename ON catalog_brand;
DROP TRIGGER catalog_capture_rename ON catalog_category;
DROP TRIGGER catalog_capture_rename ON catalog_supplier;
DROP FUNCTION catalog_capture_rename();
"""

# Waits for no writer: what an open transaction holds is left for a later round.
SEQUENCER = """
CREATE FUNCTION catalog_stamp_changes(at_most integer) RETURNS integer LANGUAGE plpgsql
SET search_path FROM CURRENT SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    first_stamp timestamptz;
    last_stamp timestamptz;
    stamped integer;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'Changes are stamped in READ COMMITTED only, where each statement sees what was committed before.';
    END IF;
    IF NOT EXISTS (SELECT FROM catalog_productchange WHERE stamp IS NULL)
        AND NOT EXISTS (SELECT FROM catalog_referencechange)
        AND NOT EXISTS (SELECT FROM catalog_renamedproduct) THEN
        RETURN 0;
    END IF;

    -- Serialises: whoever comes second goes on from the stamps of the first, once these are committed.
    SELECT last INTO STRICT first_stamp FROM catalog_syncclock FOR UPDATE;
    first_stamp := greatest(catalog_clock(), first_stamp + interval '10 microseconds');

    -- The products of a rename are looked up once it is committed. Those that an open transaction holds stay listed:
    -- it may yet roll back.
    WITH renamed AS (
        DELETE FROM catalog_referencechange WHERE reference_id IN (
            SELECT reference_id FROM catalog_referencechange FOR UPDATE SKIP LOCKED)
        RETURNING reference_id
    )
    INSERT INTO catalog_renamedproduct (product_id)
    SELECT p.id FROM renamed r JOIN catalog_product p
        ON p.brand_id = r.reference_id OR p.supplier_id = r.reference_id OR p.category_id = r.reference_id
    ON CONFLICT (product_id) DO NOTHING;

    WITH free AS MATERIALIZED (
        SELECT c.product_id FROM catalog_renamedproduct r JOIN catalog_productchange c ON c.product_id = r.product_id
        LIMIT at_most FOR UPDATE OF c SKIP LOCKED
    ), listed AS (
        DELETE FROM catalog_renamedproduct r USING free WHERE r.product_id = free.product_id
    )
    UPDATE catalog_productchange c SET stamp = NULL FROM free WHERE c.product_id = free.product_id;

    WITH unstamped AS MATERIALIZED (
        SELECT product_id, removed_ean FROM catalog_productchange
        WHERE stamp IS NULL LIMIT at_most FOR UPDATE SKIP LOCKED
    ), numbered AS (  -- a removed product before the one that has its EAN now
        SELECT product_id, row_number() OVER (ORDER BY removed_ean IS NULL, product_id) - 1 AS n FROM unstamped
    ), done AS (
        UPDATE catalog_productchange c SET stamp = first_stamp + n * interval '10 microseconds'
        FROM numbered WHERE c.product_id = numbered.product_id RETURNING c.stamp
    )
    SELECT count(*), max(stamp) INTO stamped, last_stamp FROM done;
    IF stamped > 0 THEN
        UPDATE catalog_syncclock SET last = last_stamp;
    END IF;
    RETURN stamped;
END $$;
"""
SEQUENCER_REVERSE = "DROP FUNCTION catalog_stamp_changes(integer);"


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0002_supplier_memory"),
    ]

    operations = [
        migrations.CreateModel(
            name="ProductChange",
            fields=[
                (
                    "product",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="catalog.product",
                    ),
                ),
                ("stamp", models.DateTimeField(null=True, unique=True)),
                ("removed_ean", models.CharField(max_length=13, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="ReferenceChange",
            fields=[
                ("reference_id", models.UUIDField(primary_key=True, serialize=False)),
            ],
        ),
        migrations.CreateModel(
            name="RenamedProduct",
            fields=[
                ("product_id", models.UUIDField(primary_key=True, serialize=False)),
            ],
        ),
        migrations.CreateModel(
            name="SyncClock",
            fields=[
                ("one", models.BooleanField(default=True, primary_key=True, serialize=False)),
                ("last", models.DateTimeField()),
            ],
            options={"managed": False},
        ),
        migrations.RunSQL(CLOCK, CLOCK_REVERSE),
        migrations.RunSQL(CAPTURE, CAPTURE_REVERSE),
        migrations.RunSQL(RENAMES, RENAMES_REVERSE),
        migrations.RunSQL(SEQUENCER, SEQUENCER_REVERSE),
    ]
