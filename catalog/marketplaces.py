"""Amazon's marketplaces: the host of each, for links to product pages.

Source: the list of marketplace ids in Amazon's Selling Partner API documentation.
"""

HOSTS = {
    "A13V1IB3VIYZZH": "www.amazon.fr",
    "A1PA6795UKMFR9": "www.amazon.de",
    "APJ6JRA9NG5V4": "www.amazon.it",
    "A1RKKUPIHCS9HS": "www.amazon.es",
    "A1805IZSGTT6HS": "www.amazon.nl",
    "AMEN7PMS3EDWL": "www.amazon.com.be",
    "A1F83G8C2ARO7P": "www.amazon.co.uk",
    "A28R8C7NBKEWEA": "www.amazon.ie",
    "A1C3SOZRARQ6R3": "www.amazon.pl",
    "A2NODRKZP88ZB9": "www.amazon.se",
    "A33AVAJ2PDY3EV": "www.amazon.com.tr",
    "ATVPDKIKX0DER": "www.amazon.com",
    "A2EUQ1WTGCTBG2": "www.amazon.ca",
    "A1AM78C64UM0Y8": "www.amazon.com.mx",
    "A2Q3Y263D00KWC": "www.amazon.com.br",
    "A1VC38T7YXB528": "www.amazon.co.jp",
    "A39IBJ37TRP1C6": "www.amazon.com.au",
    "A21TJRUUN4KGV": "www.amazon.in",
    "A19VAU5U5O7RUS": "www.amazon.sg",
    "A2VIGQ35RCS4UG": "www.amazon.ae",
    "A17E79C6D8DWNP": "www.amazon.sa",
}


def product_page(asin: str, marketplace_id: str) -> str | None:
    """The address of an item's page; None for a marketplace that is not in the list."""
    host = HOSTS.get(marketplace_id)
    return f"https://{host}/dp/{asin}" if host else None
