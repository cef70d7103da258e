//! Huge entries and huge folios that become smaller ones.

mod against;
mod entries;
mod folios;
mod huge;
mod storms;
