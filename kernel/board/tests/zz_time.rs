mod common;
#[test] fn time() { let d=common::golden("virt-gicv2-4cpu"); for _ in 0..20000 { std::hint::black_box(granule_board::Board::parse(std::hint::black_box(&d)).is_ok()); } }
