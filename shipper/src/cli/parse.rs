//! `waybill parse`: lines to canonical records, for forensics, backfill and trying out.
