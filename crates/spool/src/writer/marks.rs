//! Marks in parts that nothing is added to any more.

use model::segment::PartMark;

use super::SegmentWriter;

impl SegmentWriter {
    /// Notes where one may begin to read a part ([`marks_of`](crate::marks_of)), between `end` and `seal`.
    pub fn mark(&mut self, path: &str, marks: Vec<PartMark>) {
        let name = path.rsplit('/').next().unwrap_or(path);
        if let Some(part) = self.record.parts.iter_mut().find(|p| p.file == name) {
            part.marks = marks;
        }
    }
}
