"""x"""
import os
def test_x():
    import psycopg, redis
    with psycopg.connect(os.environ["DATABASE_URL"]) as c:
        assert c.execute("show fsync").fetchone() == ("off",)
    from kombu import Connection
    with Connection(os.environ["CELERY_BROKER_URL"]) as c:
        print(c.default_channel.client.ping(), c.as_uri(), c.default_channel.client.connection_pool.connection_kwargs)
