"""What all tables have in common."""

from sqlalchemy import JSON, REAL, BigInteger, Boolean, Column, Double, Integer, MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# A STRICT table of SQLite knows INTEGER, REAL, TEXT and BLOB only.
BigInt = BigInteger().with_variant(Integer(), "sqlite")
Real: Double[float] = Double().with_variant(REAL(), "sqlite")
Flag = Boolean().with_variant(Integer(), "sqlite")
Json = JSON


def ms(name: str, *, nullable: bool = False) -> Column[int]:
    """A time: milliseconds since 1970, UTC."""
    return Column(name, BigInt, nullable=nullable)
