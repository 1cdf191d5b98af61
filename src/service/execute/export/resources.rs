//! What HTTP services hold of the person, in the package: one row per resource.

use super::{super::calls, Interrupt, Making, Recorder, Run, begun, unpacked};
use crate::domain::{
    compiled::{Resource, ResourceAct, Step},
    package::{Column, Value},
};

impl Making {
    /// Reads every resource of a step; how many there were.
    pub(super) async fn resources(
        &mut self,
        run: &Run<'_>,
        recorder: &mut Recorder,
        position: usize,
        step: &Step,
        resource: &Resource,
    ) -> Result<u64, Interrupt> {
        let ResourceAct::Export { about, .. } = &resource.act else { return Ok(0) };
        recorder.defer(move |request, actor, now| begun(request, position, actor, now).into_iter().collect());
        recorder.flush().await?;
        // By which key it was found, and the service's answer.
        let columns = [("key", "json"), ("content_type", "text"), ("content", "content")]
            .map(|(name, kind)| Column { name: name.to_owned(), type_name: kind.to_owned() });
        self.packer.begin(&step.name, columns.to_vec(), about).map_err(|_| unpacked())?;
        let mut visit = calls::Visit::begin(run, step)?;
        let mut read = 0;
        for way in calls::ways(run, recorder, step).await? {
            for target in visit.targets(recorder, &way).await? {
                recorder.check()?;
                let Some(content) = visit.read(&target).await? else { continue };
                let content_type = content.content_type.map_or(Value::Null, Value::Text);
                self.pack(vec![vec![Value::Json(target.to_json()), content_type, content.body]]).await?;
                read += 1;
                self.tell(recorder, position, read).await?;
            }
        }
        self.packer.end().map_err(|_| unpacked())?;
        Ok(read)
    }
}
