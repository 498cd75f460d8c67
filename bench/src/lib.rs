//! What Toolward costs, measured beside what it is compared with. Each program in `src/bin` measures one part and adds
//! its figures to one report.

pub mod report;
